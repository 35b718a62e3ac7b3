/** A participant's phases 0 to 2: keys, verifiable sharing, masked input. */

import { open, seal } from "../../crypto/aead.ts";
import { type AgreementKey, agree, generateAgreementKey } from "../../crypto/agreement.ts";
import { equalBytes } from "../../crypto/encoding.ts";
import { AlthingError } from "../../crypto/error.ts";
import { hashFields } from "../../crypto/hash.ts";
import {
	type CommittedShare,
	checkShare,
	checkUnsealed,
	committedShare,
	type DealtShare,
	dealShares,
	SHARE_BYTES,
} from "../../crypto/verifiableSharing.ts";
import type { PeerId } from "../contract.ts";
import {
	bundleFlaw,
	bundleLeaf,
	maskMates,
	neighbourhoodOf,
	provesPart,
	type Roster,
	rosterMates,
	type Sharing,
	shareSetHashOf,
	shownRoster,
	TAG_BYTES,
} from "./cohort.ts";
import type { Context } from "./context.ts";
import type { AggregationTaskResult } from "./masking.ts";
import { decodeMembers } from "./memberSet.ts";
import type { Advert, Bundle, Complaint, InputMeta, MessageOf, OpenedShare } from "./messages.ts";
import type { Outbox } from "./outbox.ts";
import { encodePromise } from "./promises.ts";
import {
	type ChannelKeys,
	channelKeys,
	DOMAIN,
	edgeTag,
	pairSeed,
	seedCommitment,
	selfMaskKey,
	sharingContext,
	sketchKey,
	vectorHash,
} from "./sessionId.ts";
import { canonical, isAuthentic, signStatement } from "./statements.ts";

/** Every channel key seals exactly one message, so the nonce may be constant. */
const ONLY_NONCE = new Uint8Array(12);
const MASK_WORK = "mask";

interface Keys {
	readonly mask: AgreementKey;
	readonly channel: AgreementKey;
	readonly advert: Advert;
}

export class Contributor {
	/** This node's own verified view of U2; set once. */
	sharing: Sharing | undefined;
	/** y_u as it travels; set once the input is masked. */
	packed: Uint8Array | undefined;
	meta: InputMeta | undefined;
	/** x_u, where its sketch will be asked for. */
	values: Uint32Array | undefined;
	/** The coordinator confirmed the input: a survivor set without it is refused. */
	acknowledged = false;

	readonly #context: Context;
	/** False after a restart: keys and shares are gone, new ones would be a second identity. */
	readonly #mayJoin: boolean;
	#keys: Keys | undefined;
	/** The coordinator asked for keys. */
	#called = false;
	/** Buffered rounds: what the contribution that is ready was computed from. */
	#version: number | undefined;
	#roster: Roster | undefined;
	#selfSeed: Uint8Array | undefined;
	#bundle: MessageOf<"bundle"> | undefined;
	#dealt: ReadonlyMap<PeerId, DealtShare> = new Map();
	readonly #channels = new Map<PeerId, Uint8Array>();
	readonly #shareKeys = new Map<PeerId, ChannelKeys>();
	readonly #pairSeeds = new Map<PeerId, Uint8Array>();
	readonly #bundles = new Map<PeerId, Bundle>();
	/** Whose sharings came, sound or not. */
	readonly #dealers = new Set<PeerId>();
	readonly #held = new Map<PeerId, DealtShare>();
	readonly #complaints = new Map<PeerId, Complaint>();
	readonly #opened = new Map<PeerId, OpenedShare>();
	#inputGiven = false;
	#publicPart: Uint8Array | undefined;
	#partSent = false;

	constructor(context: Context, mayJoin: boolean) {
		this.#context = context;
		this.#mayJoin = mayJoin;
	}

	/** Whether the session counts on this node: it may contribute, and in a buffered round it is on the roster. */
	get invited(): boolean {
		const { selected, self, config } = this.#context;
		return selected.includes(self) && (config.buffer === undefined || this.#roster !== undefined);
	}

	/** The roster this node was shown, by its root. */
	get rosterRoot(): Uint8Array | undefined {
		return this.#roster?.rosterRoot;
	}

	get selfSeed(): Uint8Array | undefined {
		return this.#selfSeed;
	}

	/** s_uv towards a mate. */
	pairSeedTo(mate: PeerId): Uint8Array | undefined {
		return this.#pairSeeds.get(mate);
	}

	/** This node's verified share of a dealer's secrets. */
	heldShareOf(dealer: PeerId): DealtShare | undefined {
		return this.#held.get(dealer);
	}

	/** Drops every secret. */
	forget(): void {
		this.#keys = undefined;
		this.#selfSeed = undefined;
		this.#dealt = new Map();
		this.#pairSeeds.clear();
		this.#channels.clear();
		this.#shareKeys.clear();
		this.#held.clear();
		this.packed = undefined;
		this.values = undefined;
	}

	/** Answers the call for keys; silent after a restart in mid-session. */
	advertise(message: MessageOf<"open">, out: Outbox): void {
		const { config, sidPre, coordinator } = this.#context;
		if (!equalBytes(message.sidPre, sidPre)) {
			out.fault(
				coordinator,
				"session_mismatch",
				`${coordinator} opened round ${config.round} with another model, configuration or cohort than this node's.`,
			);
			return;
		}
		this.#called = true;
		this.#sendKeys(out);
	}

	/** Buffered rounds: a contribution is ready; joins as soon as the session is open. */
	offer(version: number, out: Outbox): void {
		this.#version = version;
		if (this.#called) this.#sendKeys(out);
	}

	#sendKeys(out: Outbox): void {
		const { config, sidPre, coordinator, selected } = this.#context;
		if (!this.#mayJoin || this.#roster !== undefined || !selected.includes(config.self.peer)) return;
		if (config.buffer !== undefined && this.#version === undefined) return;
		if (this.#keys === undefined) {
			out.output({ kind: "phase", phase: "advertise" });
			const mask = generateAgreementKey(config.random);
			const channel = generateAgreementKey(config.random);
			const advert = signStatement<Advert>(config.self, {
				kind: "advert",
				sidPre,
				maskKey: mask.publicKey,
				channelKey: channel.publicKey,
				...(config.buffer === undefined ? {} : { version: this.#version }),
			});
			this.#keys = { mask, channel, advert };
		}
		out.send(coordinator, { kind: "keys", advert: this.#keys.advert });
	}

	/** Checks the roster; shares this node's secrets among it. */
	share(message: MessageOf<"roster">, out: Outbox): void {
		const { config, sidPre, coordinator, headers, members } = this.#context;
		const { header, adverts } = message;
		if (header.author !== coordinator || !headers.note(header, sidPre, members, out)) return;
		if (this.#roster !== undefined) {
			if (this.#bundle !== undefined && equalBytes(header.rosterRoot, this.#roster.rosterRoot)) {
				out.send(coordinator, this.#bundle);
			}
			return;
		}
		const roster = this.#checkedRoster(message, out);
		const keys = this.#keys;
		if (roster === undefined) return;
		const own = adverts.find(({ author }) => author === config.self.peer);
		if (keys === undefined || own === undefined || !equalBytes(canonical(own), canonical(keys.advert)))
			return;
		this.#roster = roster;
		out.output({ kind: "phase", phase: "share" });
		out.persist(encodePromise({ kind: "shared", sid: roster.sid }));
		this.#bundle = this.#deal(roster, keys);
		out.send(coordinator, this.#bundle);
	}

	#checkedRoster(message: MessageOf<"roster">, out: Outbox): Roster | undefined {
		const { config, sidPre, coordinator, graph, self, admission } = this.#context;
		try {
			const roster = shownRoster(message, self, graph, sidPre, admission, config.minimumSurvivors);
			if (equalBytes(roster.rosterRoot, message.header.rosterRoot)) return roster;
			out.fault(coordinator, "bad_roster", `${coordinator} signed another roster than it sent.`);
		} catch (error) {
			if (!(error instanceof AlthingError)) throw error;
			// The coordinator checks every advert before it passes it on, so a bad one is its fault.
			out.fault(coordinator, "bad_roster", `${coordinator} sent a bad roster. ${error.message}`);
		}
		return undefined;
	}

	#deal(roster: Roster, keys: Keys): MessageOf<"bundle"> {
		const { config, graph } = this.#context;
		const { self, random } = config;
		const holders = graph.holdersOf(self.peer);
		const selfSeed = random(32);
		const commitment = seedCommitment(roster.sid, self.peer, selfSeed);
		const secret = new Uint8Array(64);
		secret.set(selfSeed);
		secret.set(keys.mask.secret, 32);
		const dealt = dealShares({
			secret,
			holders: holders.length,
			threshold: roster.threshold,
			context: sharingContext(roster.sid, self.peer),
			seedCommitment: commitment,
			random,
			seal: (index, plain) => {
				const holder = holders[index - 1] as PeerId;
				const advert = roster.adverts.get(holder);
				if (advert === undefined) return new Uint8Array();
				const { sealing } = this.#keysWith(roster.sid, advert, keys);
				return seal(sealing, ONLY_NONCE, plain, sealedData(roster.sid, self.peer, holder));
			},
		});
		secret.fill(0);
		this.#selfSeed = selfSeed;
		this.#dealt = new Map(holders.map((holder, i) => [holder, dealt.shares[i] as DealtShare]));
		for (const mate of rosterMates(roster, self.peer)) {
			const { maskKey: key } = roster.adverts.get(mate) as Advert;
			this.#pairSeeds.set(mate, pairSeed(roster.sid, keys.mask.secret, self.peer, key, mate));
		}
		const mates = graph.matesOf(self.peer);
		const edgeTags = new Uint8Array(TAG_BYTES * mates.length);
		for (const [i, mate] of mates.entries()) {
			const seed = this.#pairSeeds.get(mate);
			if (seed !== undefined) edgeTags.set(edgeTag(roster.sid, seed), i * TAG_BYTES);
		}
		const bundle = signStatement<Bundle>(self, {
			kind: "bundle",
			sid: roster.sid,
			root: dealt.root,
			seedCommitment: commitment,
			response: dealt.response,
			edgeTags,
		});
		this.#bundles.set(self.peer, bundle);
		return { kind: "bundle", bundle, leaves: dealt.leaves, sealed: dealt.sealed };
	}

	/** What seals and opens the one share in either direction. */
	#keysWith(sid: Uint8Array, other: Advert, keys: Keys): ChannelKeys {
		const known =
			this.#shareKeys.get(other.author) ??
			channelKeys(sid, this.#channelTo(other, keys), this.#context.self, other.author);
		this.#shareKeys.set(other.author, known);
		return known;
	}

	/** The secret shared with a neighbour's channel key: one agreement serves both directions. */
	#channelTo(advert: Advert, keys: Keys): Uint8Array {
		const known = this.#channels.get(advert.author) ?? agree(keys.channel.secret, advert.channelKey);
		this.#channels.set(advert.author, known);
		return known;
	}

	/** Verifies the shares dealt to this node and acknowledges them, or complains. */
	verifyShares(message: MessageOf<"shares">, out: Outbox): void {
		const { coordinator } = this.#context;
		const roster = this.#roster;
		if (roster === undefined || this.#bundle === undefined || !equalBytes(message.sid, roster.sid)) return;
		if (this.#bundles.size === 1) out.output({ kind: "phase", phase: "verify" });
		for (const dealt of message.dealt) this.#verifyShare(roster, dealt, out);
		// What a large cohort deals comes in several messages.
		for (const { bundle } of message.dealt) this.#dealers.add(bundle.author);
		if (this.#dealers.size < message.dealers) return;
		out.send(coordinator, { kind: "ack", sid: roster.sid, complaints: [...this.#complaints.values()] });
	}

	#verifyShare(roster: Roster, dealt: MessageOf<"shares">["dealt"][number], out: Outbox): void {
		const { config, coordinator, graph } = this.#context;
		const { bundle, sealed, path } = dealt;
		const dealer = bundle.author;
		if (dealer === config.self.peer) return;
		const known = this.#bundles.get(dealer);
		if (known !== undefined && equalBytes(canonical(known), canonical(bundle))) return;
		const flaw = bundleFlaw(bundle, roster);
		if (flaw !== undefined) {
			out.fault(coordinator, "bad_shares", `${coordinator} passed on a bad sharing of ${dealer}: ${flaw}.`);
			return;
		}
		if (known !== undefined) {
			out.fault(dealer, "equivocation", `${dealer} signed two different sharings in one session.`, [
				canonical(known),
				canonical(bundle),
			]);
			return;
		}
		const holders = graph.holdersOf(dealer);
		const position = holders.indexOf(config.self.peer);
		if (position < 0) {
			// A mate whose shares go to others: its tag for this node is what matters.
			this.#bundles.set(dealer, bundle);
			return;
		}
		const committed = committedShare(bundle.root, holders.length, position + 1, sealed, path);
		if (committed === undefined) {
			// Not what the dealer sealed: complaining would make it open an honest holder's share.
			out.fault(
				coordinator,
				"bad_shares",
				`${coordinator} changed the share that ${dealer} sealed for this node.`,
			);
			return;
		}
		this.#bundles.set(dealer, bundle);
		const share = this.#unsealed(roster, bundle, sealed, position + 1, committed);
		if (share !== undefined) this.#held.set(dealer, share);
		else {
			const complaint = signStatement<Complaint>(config.self, { kind: "complaint", sid: roster.sid, dealer });
			this.#complaints.set(dealer, complaint);
			out.fault(dealer, "bad_share", `${dealer} sealed a share for this node that does not verify.`);
		}
	}

	#unsealed(
		roster: Roster,
		bundle: Bundle,
		sealed: Uint8Array,
		index: number,
		committed: CommittedShare,
	): DealtShare | undefined {
		const { self } = this.#context;
		const advert = roster.adverts.get(bundle.author) as Advert;
		try {
			const { opening } = this.#keysWith(roster.sid, advert, this.#keys as Keys);
			const plain = open(opening, ONLY_NONCE, sealed, sealedData(roster.sid, bundle.author, self));
			const share = plain.subarray(0, SHARE_BYTES);
			const salt = plain.subarray(SHARE_BYTES);
			if (!checkUnsealed({ ...sharingClaim(roster, bundle), index, share, salt, committed }))
				return undefined;
			return { index, share, salt, proof: committed.proof };
		} catch {
			// Whatever a dealer put inside, the outcome is the same: no share, hence a complaint.
			return undefined;
		}
	}

	/**
	 * Opens the shares of holders that complained, with their own signature. More holders
	 * than the assumed corrupt ones means forged doubt: opening on would approach t shares.
	 */
	answerComplaints(message: MessageOf<"openRequest">, out: Outbox): void {
		const { config, coordinator } = this.#context;
		const roster = this.#roster;
		if (roster === undefined || this.sharing !== undefined) return;
		for (const complaint of message.complaints) {
			const { author, dealer, sid } = complaint;
			if (dealer !== config.self.peer || !equalBytes(sid, roster.sid) || !isAuthentic(complaint)) continue;
			const share = this.#dealt.get(author);
			if (share === undefined || this.#opened.has(author)) continue;
			if (this.#opened.size >= config.electorate.corruption) continue;
			const opened = signStatement<OpenedShare>(config.self, {
				kind: "openedShare",
				sid: roster.sid,
				holder: author,
				share: share.share,
				salt: share.salt,
				proof: share.proof,
			});
			this.#opened.set(author, opened);
		}
		out.send(coordinator, { kind: "openShares", opened: [...this.#opened.values()] });
	}

	/**
	 * Accepts U2 if this node can hold a share of everyone in it; asks the owner for the
	 * input unless this node has voted or abstained already.
	 */
	acceptShareSet(message: MessageOf<"shareSet">, inputUseful: boolean, out: Outbox): void {
		const { config, sidPre, coordinator, headers, members, graph } = this.#context;
		const { header } = message;
		const roster = this.#roster;
		const cohort = decodeMembers(graph.members, message.cohort) ?? [];
		if (roster === undefined || this.#bundle === undefined || !equalBytes(header.sid, roster.sid)) return;
		if (header.author !== coordinator || !headers.note(header, sidPre, members, out)) return;
		if (this.sharing !== undefined) {
			if (equalBytes(this.sharing.shareSetHash, header.shareSetHash)) this.#sendInput(out);
			return;
		}
		const flaw = this.#shareSetFlaw(roster, cohort, message);
		if (flaw !== undefined) {
			// A member left out of U2 may simply have missed the sharings.
			if (cohort.includes(config.self.peer)) {
				out.fault(coordinator, "bad_share_set", `${coordinator} sent an unacceptable share set: ${flaw}.`);
			}
			return;
		}
		this.sharing = { roster, cohort, bundles: this.#bundlesIn(cohort), shareSetHash: header.shareSetHash };
		// Complaints are over: nobody is shown these any more.
		this.#dealt = new Map();
		if (!inputUseful || !cohort.includes(config.self.peer)) return;
		out.output({ kind: "phase", phase: "input" });
		out.output({ kind: "input_wanted", sid: roster.sid, cohort });
	}

	/** Of this node and its neighbours in U2. */
	#bundlesIn(cohort: readonly PeerId[]): Map<PeerId, Bundle> {
		const shared = new Set(cohort);
		return new Map([...this.#bundles].filter(([dealer]) => shared.has(dealer)));
	}

	#shareSetFlaw(
		roster: Roster,
		cohort: readonly PeerId[],
		{ header, cohort: bits, root, proof, opened }: MessageOf<"shareSet">,
	): string | undefined {
		const { config, graph, self } = this.#context;
		if (cohort.length < config.minimumSurvivors) return "it has too few members";
		const present = new Set(roster.members);
		if (cohort.some((member) => !present.has(member))) return "it has members that are not in the roster";
		const shared = new Set(cohort);
		const holders = new Set(graph.holdersOf(self));
		for (const dealer of neighbourhoodOf(graph, self)) {
			if (!shared.has(dealer)) continue;
			const bundle = this.#bundles.get(dealer);
			if (bundle === undefined) return `this node never saw the sharing of ${dealer}`;
			if (!holders.has(dealer) || this.#held.has(dealer)) continue;
			const answer = opened.find(({ author, holder }) => author === dealer && holder === self);
			const share = answer && soundOpenedShare(roster, bundle, answer);
			if (share === undefined)
				return `it includes ${dealer}, whose share for this node is bad and was not opened`;
			this.#held.set(dealer, share);
		}
		if (!equalBytes(header.shareSetHash, shareSetHashOf(roster.sid, bits, root)))
			return "it is not the one that was signed";
		return provesPart(graph, neighbourhoodOf(graph, self), this.#bundlesIn(cohort), bundleLeaf, {
			root,
			proof,
		})
			? undefined
			: "its sharings differ from the ones this node was shown";
	}

	/**
	 * Masks the owner's vector; `publicPart` is what everybody may see beside it.
	 * @throws AlthingError `aggregation.not_wanted` | `aggregation.bad_input`
	 */
	provideInput(values: Uint32Array, publicPart: Uint8Array | undefined, out: Outbox): void {
		const { config } = this.#context;
		const sharing = this.sharing;
		const selfSeed = this.#selfSeed;
		if (
			sharing === undefined ||
			selfSeed === undefined ||
			this.#inputGiven ||
			!sharing.cohort.includes(config.self.peer)
		) {
			throw new AlthingError(
				"aggregation.not_wanted",
				"No input is wanted now; provide it once, after the output input_wanted.",
			);
		}
		if (values.length !== config.length) {
			throw new AlthingError(
				"aggregation.bad_input",
				`The input has ${values.length} values; the session sums vectors of ${config.length}.`,
			);
		}
		if (exceeds(values, 2 ** config.modulusBits)) {
			throw new AlthingError(
				"aggregation.bad_input",
				`The input has a value outside 0 to 2^${config.modulusBits} - 1.`,
			);
		}
		if (publicPart?.length !== config.publicBytes) {
			throw new AlthingError(
				"aggregation.bad_input",
				`The input's public part has ${publicPart?.length ?? 0} bytes; the session's have ${config.publicBytes ?? 0}.`,
			);
		}
		this.#publicPart = publicPart;
		this.#inputGiven = true;
		const { sid } = sharing.roster;
		const add = [selfMaskKey(sid, selfSeed)];
		const subtract: Uint8Array[] = [];
		for (const mate of maskMates(sharing, config.self.peer)) {
			const key = this.#pairSeeds.get(mate) as Uint8Array;
			(config.self.peer < mate ? add : subtract).push(key);
		}
		const { length, modulusBits, screening } = config;
		if (screening?.selection !== undefined) this.values = values;
		out.work(MASK_WORK, { kind: "mask", values, add, subtract, length, modulusBits });
	}

	/**
	 * Seals this node's share of its sketch for a holder, once.
	 * @param data what it is bound to
	 */
	sealSketch(holder: PeerId, plain: Uint8Array, data: Uint8Array): Uint8Array {
		return seal(this.#sketchKey(this.#context.self, holder, holder), ONLY_NONCE, plain, data);
	}

	/** @throws AlthingError `crypto.*` for what the dealer did not seal for this node */
	openSketch(dealer: PeerId, sealed: Uint8Array, data: Uint8Array): Uint8Array {
		return open(this.#sketchKey(dealer, this.#context.self, dealer), ONLY_NONCE, sealed, data);
	}

	#sketchKey(dealer: PeerId, holder: PeerId, other: PeerId): Uint8Array {
		const { sid, adverts } = (this.#roster as Roster) ?? {};
		const advert = adverts?.get(other);
		if (advert === undefined || this.#keys === undefined)
			throw new AlthingError("aggregation.no_channel", `There is no channel to ${other} in this session.`);
		return sketchKey(sid, this.#channelTo(advert, this.#keys), dealer, holder);
	}

	/** Signs and sends the masked input; the promise is durable before it leaves. */
	completed(result: AggregationTaskResult, out: Outbox): void {
		const sharing = this.sharing;
		if (result.kind !== "mask" || sharing === undefined || this.#selfSeed === undefined) return;
		const { sid } = sharing.roster;
		const { shareSetHash } = sharing;
		this.packed = result.packed;
		this.meta = signStatement<InputMeta>(this.#context.config.self, {
			kind: "input",
			sid,
			shareSetHash,
			inputHash: result.hash,
			...(this.#publicPart === undefined ? {} : { publicHash: vectorHash(this.#publicPart) }),
		});
		out.persist(encodePromise({ kind: "input", sid, shareSetHash, inputHash: result.hash }));
		this.#sendInput(out);
	}

	/** Sends the input though it arrived before. */
	sendAgain(out: Outbox): void {
		if (this.meta === undefined || this.packed === undefined) return;
		out.send(this.#context.coordinator, { kind: "input", meta: this.meta }, this.packed);
	}

	#sendInput(out: Outbox): void {
		if (this.meta === undefined || this.packed === undefined || this.acknowledged) return;
		const { coordinator, members, self } = this.#context;
		const part = this.#publicPart;
		if (part !== undefined) {
			// To everybody once; who misses it asks for it. The coordinator gets it with each repetition.
			for (const peer of this.#partSent ? [coordinator] : members)
				out.send(peer, { kind: "publicPart", of: "input", author: self }, part);
			this.#partSent = true;
		}
		out.send(coordinator, { kind: "input", meta: this.meta }, this.packed);
	}

	acknowledge({ sid }: MessageOf<"receipt">): void {
		if (this.meta !== undefined && equalBytes(sid, this.meta.sid)) this.acknowledged = true;
	}
}

/** What a share of a sharing is checked against. */
function sharingClaim(roster: Roster, { author, root, response, seedCommitment }: Bundle) {
	return {
		context: sharingContext(roster.sid, author),
		root,
		response,
		seedCommitment,
		threshold: roster.threshold,
		holders: roster.graph.holdersOf(author).length,
	};
}

/** The share a dealer opened for a holder, if it is signed and sound. */
export function soundOpenedShare(
	roster: Roster,
	bundle: Bundle,
	opened: OpenedShare,
): DealtShare | undefined {
	if (opened.author !== bundle.author || !equalBytes(opened.sid, roster.sid) || !isAuthentic(opened))
		return undefined;
	const index = roster.graph.holdersOf(opened.author).indexOf(opened.holder) + 1;
	const held = { index, share: opened.share, salt: opened.salt, proof: opened.proof };
	return checkShare({ ...sharingClaim(roster, bundle), ...held }) ? held : undefined;
}

/** Not `some`: a callback for each value takes ten times as long as the loop. */
function exceeds(values: Uint32Array, bound: number): boolean {
	for (let i = 0; i < values.length; i++) if ((values[i] as number) >= bound) return true;
	return false;
}

function sealedData(sid: Uint8Array, dealer: PeerId, holder: PeerId): Uint8Array {
	return hashFields(`${DOMAIN}/sealed`, sid, dealer, holder);
}
