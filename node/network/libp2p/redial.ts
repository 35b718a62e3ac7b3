import type { PeerId } from "../../../crypto/identity.ts";

const FIRST_DELAY_MS = 150;

interface Target {
	failures: number;
	timer: NodeJS.Timeout | undefined;
	busy: boolean;
}

/**
 * Keeps a link to every wanted peer: redials with jittered, doubling pauses up to a cap.
 *
 * js-libp2p's own reconnection is switched off: it gives up for good after five failures,
 * removing the keep-alive tag, and can leave the dial queue stuck (js-libp2p #3289).
 */
export class Redialer {
	readonly #self: PeerId;
	readonly #capMs: number;
	readonly #isLinked: (peer: PeerId) => boolean;
	readonly #connect: (peer: PeerId) => Promise<void>;
	readonly #targets = new Map<PeerId, Target>();
	#stopped = false;

	constructor(deps: {
		self: PeerId;
		capMs: number;
		isLinked: (peer: PeerId) => boolean;
		/** Resolves once linked. */
		connect: (peer: PeerId) => Promise<void>;
	}) {
		this.#self = deps.self;
		this.#capMs = deps.capMs;
		this.#isLinked = deps.isLinked;
		this.#connect = deps.connect;
	}

	/** Sets whom to keep a link with; new ones are dialled soon. */
	want(peers: Iterable<PeerId>): void {
		const wanted = new Set(peers);
		wanted.delete(this.#self);
		for (const [peer, target] of this.#targets) {
			if (wanted.has(peer)) continue;
			clearTimeout(target.timer);
			this.#targets.delete(peer);
		}
		for (const peer of wanted) {
			if (this.#targets.has(peer)) continue;
			const target: Target = { failures: 0, timer: undefined, busy: false };
			this.#targets.set(peer, target);
			this.#schedule(peer, target);
		}
	}

	/** Something changed for the better (an address, a lost link's first try): start over with short pauses. */
	poke(peer: PeerId): void {
		const target = this.#targets.get(peer);
		if (target === undefined) return;
		target.failures = 0;
		this.#schedule(peer, target);
	}

	/** True while the last dials of the peer have failed. */
	failing(peer: PeerId): boolean {
		return (this.#targets.get(peer)?.failures ?? 0) > 0;
	}

	/** Wanted peers without a link. */
	missing(): PeerId[] {
		return [...this.#targets.keys()].filter((peer) => !this.#isLinked(peer));
	}

	stop(): void {
		this.#stopped = true;
		this.want([]);
	}

	#schedule(peer: PeerId, target: Target): void {
		if (this.#stopped || target.busy || this.#isLinked(peer)) return;
		clearTimeout(target.timer);
		const backoff = Math.min(this.#capMs, FIRST_DELAY_MS * 2 ** Math.min(target.failures, 20));
		// One side waits a little longer, so that both do not dial at the same moment and
		// end with two connections.
		const patience = this.#self > peer && target.failures === 0 ? 2.5 : 1;
		const delayMs = backoff * patience * (0.7 + 0.6 * Math.random());
		target.timer = setTimeout(() => void this.#try(peer, target), Math.min(delayMs, this.#capMs));
		target.timer.unref();
	}

	async #try(peer: PeerId, target: Target): Promise<void> {
		if (this.#isLinked(peer)) return;
		target.busy = true;
		try {
			await this.#connect(peer);
			target.failures = 0;
		} catch {
			target.failures += 1;
		} finally {
			target.busy = false;
		}
		if (this.#targets.get(peer) === target) this.#schedule(peer, target);
	}
}
