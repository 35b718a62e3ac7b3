/**
 * This node's federation: its charter chain, the membership protocol, and the network that
 * exists only inside a federation (its id is part of every handshake).
 */
import { decodeCanonical, encodeCanonical, toHex } from "../../crypto/encoding.ts";
import { AlthingError } from "../../crypto/error.ts";
import type { PeerId, SigningKey } from "../../crypto/identity.ts";
import { randomBytes } from "../../crypto/random.ts";
import { quorum } from "../../protocols/certificate/index.ts";
import {
	type Charter,
	CharterChain,
	charterHashText,
	corruptionOf,
	type Declaration,
	declarationSchema,
	decodeFederationMessage,
	electorateOf,
	encodeFederationMessage,
	type FederationMessage,
	type FederationOutput,
	Membership,
	memberOf,
	type PendingRequest,
	parseTicket,
	rulesSchema,
} from "../../protocols/federation/index.ts";
import { MachineDriver } from "../jobs/machineDriver.ts";
import type { Logger } from "../logging/logger.ts";
import { createLibp2pNetwork, type Libp2pNetwork, type NetworkOptions } from "../network/libp2p/index.ts";
import type {
	FederationService,
	FederationView,
	JsonObject,
	PendingRequest as PendingView,
} from "../rpc/services.ts";
import type { Store } from "../store/index.ts";
import { MembershipView } from "./membershipView.ts";

/** Journal kinds. */
const PROMISES = "federation";
const LINKS = "charter-link";
const TICKETS = "ticket";

/** How long a node that leaves waits for its last messages to be taken. */
const LAST_WORDS_MS = 3_000;

const CHANNEL = "federation";
const JOIN = "federation/join";

export interface FederationOptions {
	readonly self: SigningKey;
	readonly identitySeed: Uint8Array;
	readonly organization: string;
	readonly software: string;
	readonly store: Store;
	readonly records: ReadonlyMap<string, readonly Uint8Array[]>;
	readonly autoApproveMembers: boolean;
	readonly network: Pick<
		NetworkOptions,
		"listen" | "announce" | "bootstrap" | "limits" | "relay" | "metrics" | "dataDirectory"
	>;
	/** Records this organization may declare: its registered training records. */
	readonly declaredRecords: () => number;
	readonly log: Logger;
	readonly nowMs: () => number;
	readonly publish: (event: { type: string; data: JsonObject }) => void;
	readonly onCharter: (version: number) => void;
	/** The network is up and this node is a member: jobs may run. */
	readonly onMember: (network: Libp2pNetwork, federation: Federation) => Promise<void>;
	/** This node is no member any more: jobs must stop. */
	readonly onLeft: () => Promise<void>;
	readonly onFatal: (error: unknown) => void;
}

type Driver = MachineDriver<FederationMessage, never, never, FederationOutput, Uint8Array>;

export class Federation implements FederationService {
	readonly #options: FederationOptions;
	readonly #view = new MembershipView();
	#chain: CharterChain | undefined;
	#machine: Membership | undefined;
	#driver: Driver | undefined;
	#network: Libp2pNetwork | undefined;
	#isMember = false;
	/** A member has refused this candidate's request: it may try another ticket. */
	#refused = false;
	/** Messages for candidates, handed over when they ask again. */
	readonly #mailboxes = new Map<PeerId, FederationMessage[]>();
	/** Messages on their way. */
	readonly #sending = new Set<Promise<void>>();

	private constructor(options: FederationOptions) {
		this.#options = options;
	}

	/** Takes up the federation that the journal knows, if any. */
	static async open(options: FederationOptions): Promise<Federation> {
		const federation = new Federation(options);
		const { records } = options;
		const links = records.get(LINKS) ?? [];
		const tickets = (records.get(TICKETS) ?? []).map(
			(body) => decodeCanonical(body) as { issued: boolean; text: string },
		);
		for (const { issued, text } of tickets) if (issued) federation.#view.addInvitation(parseTicket(text));
		if (links.length > 0) {
			federation.#setChain(CharterChain.verify(links.map((link) => decodeCanonical(link))));
			const { federationId, head } = federation.#requireChain();
			// A former member keeps the chain as a record and stays off the network.
			if (memberOf(head, options.self.peer) !== undefined)
				await federation.#join(federationId, head.federation, []);
		} else {
			const used = tickets.findLast(({ issued }) => !issued);
			if (used !== undefined) await federation.#candidate(used.text);
		}
		return federation;
	}

	get chain(): CharterChain | undefined {
		return this.#chain;
	}

	get network(): Libp2pNetwork | undefined {
		return this.#network;
	}

	get isMember(): boolean {
		return this.#isMember;
	}

	/** The charter version with this hash, if the chain has it. */
	charterByHash(hash: Uint8Array): Charter | undefined {
		const text = toHex(hash);
		return this.#chain?.links.findLast(({ charter }) => charterHashText(charter) === text)?.charter;
	}

	async stop(): Promise<void> {
		await this.#driver?.stop();
		await this.#network?.stop();
	}

	async create(params: { name: string; rules: JsonObject }): Promise<FederationView> {
		this.#requireNone();
		const rules = rulesSchema.safeParse(params.rules);
		if (!rules.success) {
			const issue = rules.error.issues[0];
			throw new AlthingError(
				"federation.bad_rules",
				`the charter's rules are not valid at ${issue?.path.join(".") || "their top"}: ${issue?.message}`,
			);
		}
		const chain = CharterChain.found(this.#options.self, {
			federation: params.name,
			rules: rules.data,
			declaration: this.#declaration({}),
			createdAt: new Date().toISOString(),
		});
		await this.#persistLinks(chain, 0);
		this.#setChain(chain);
		await this.#join(chain.federationId, params.name, []);
		return this.show();
	}

	async invite(params: {
		organization: string;
		expiresInHours: number;
	}): Promise<{ ticket: string; expiresAt: string }> {
		const machine = this.#requireMember();
		const addresses = this.#network?.addresses() ?? [];
		const { ticket, text } = machine.invite(
			{
				organization: params.organization,
				expiresInMs: params.expiresInHours * 3_600_000,
				addresses: addresses.slice(0, 8),
			},
			this.#options.nowMs(),
		);
		await this.#options.store.journal.append(TICKETS, encodeCanonical({ issued: true, text }));
		this.#view.addInvitation(ticket);
		return { ticket: text, expiresAt: ticket.expiresAt };
	}

	async join(params: { ticket: string; declaration: JsonObject }): Promise<{ requestId: string }> {
		if (!this.#refused) this.#requireNone();
		const ticket = parseTicket(params.ticket);
		const declaration = this.#declaration(params.declaration);
		if (this.#refused) await this.#abandonCandidacy();
		await this.#candidate(params.ticket);
		const machine = this.#machine as Membership;
		let refused: unknown;
		this.#driver?.step((nowMs) => {
			try {
				return machine.requestJoin(ticket, declaration, nowMs);
			} catch (error) {
				refused = error;
				return {};
			}
		});
		if (refused !== undefined) {
			await this.#abandonCandidacy();
			throw refused;
		}
		await this.#options.store.journal.append(
			TICKETS,
			encodeCanonical({ issued: false, text: params.ticket }),
		);
		return { requestId: machine.joining ?? "" };
	}

	async pending(): Promise<PendingView[]> {
		this.#requireMember();
		return this.#pendingViews();
	}

	async approve(params: { requestId: string }): Promise<PendingView> {
		return this.#judge(params.requestId, true);
	}

	async reject(params: { requestId: string }): Promise<PendingView> {
		return this.#judge(params.requestId, false);
	}

	async show(): Promise<FederationView> {
		const chain = this.#chain;
		if (chain === undefined) {
			throw new AlthingError(
				"federation.none",
				this.#network === undefined
					? "this node belongs to no federation; `althing federation create` founds one, `althing federation join` asks to be admitted"
					: "this node has asked to join a federation and waits for its members' approval",
			);
		}
		const { head } = chain;
		const electorate = electorateOf(head);
		const q = quorum(electorate);
		const connected = new Set(
			(this.#network?.peers() ?? []).filter((peer) => peer.connected).map((peer) => peer.peer),
		);
		const self = this.#options.self.peer;
		return {
			id: chain.federationId,
			name: head.federation,
			charterVersion: head.version,
			charterHash: charterHashText(head),
			standing: this.#isMember ? "member" : "former",
			members: head.members.map(({ peer, organization }) => ({
				peer,
				organization,
				connected: peer === self || connected.has(peer),
				self: peer === self,
			})),
			corruption: corruptionOf(head),
			quorum: q,
			mayBeDown: head.members.length - q,
			pending: this.#pendingViews(),
			rules: head.rules as unknown as JsonObject,
		};
	}

	async leave(): Promise<{ requestId: string }> {
		const machine = this.#requireMember();
		return this.#change((nowMs) => machine.leave(nowMs));
	}

	async expel(params: { peer: string; reason: string }): Promise<{ requestId: string }> {
		const machine = this.#requireMember();
		return this.#change((nowMs) => machine.expel(params.peer, params.reason, nowMs));
	}

	// --- internals --------------------------------------------------------------------------

	#judge(requestId: string, approve: boolean): PendingView {
		const machine = this.#requireMember();
		const [found, another] = this.#pendingViews().filter((known) => known.requestId.startsWith(requestId));
		// A short prefix must never approve another organization than the one that was meant.
		if (found === undefined || another !== undefined) {
			const why =
				found === undefined
					? `no request ${requestId} is waiting here`
					: `several requests begin with ${requestId}; give more of the id`;
			throw new AlthingError(
				"federation.request_not_found",
				`${why}; \`althing federation pending\` lists them`,
				{ requestId },
			);
		}
		const id = found.requestId;
		this.#driver?.step((nowMs) => (approve ? machine.approve(id, nowMs) : machine.reject(id, nowMs)));
		return this.#pendingViews().find((known) => known.requestId === id) ?? found;
	}

	/** Runs a command that asks for a change, and names the request it made. */
	#change(command: (nowMs: number) => ReturnType<Membership["leave"]>): { requestId: string } {
		const before = new Set(this.#pendingViews().map(({ requestId }) => requestId));
		let refused: unknown;
		this.#driver?.step((nowMs) => {
			try {
				return command(nowMs);
			} catch (error) {
				refused = error;
				return {};
			}
		});
		if (refused !== undefined) throw refused;
		const made = this.#pendingViews().find(({ requestId }) => !before.has(requestId));
		return { requestId: made?.requestId ?? "" };
	}

	async #candidate(ticketText: string): Promise<void> {
		const ticket = parseTicket(ticketText);
		this.#view.ticket = ticket;
		await this.#join(ticket.federationId, ticket.federation, ticket.addresses);
	}

	async #abandonCandidacy(): Promise<void> {
		await this.stop();
		this.#refused = false;
		this.#driver = undefined;
		this.#machine = undefined;
		this.#network = undefined;
		this.#view.ticket = undefined;
	}

	/** Starts the federation's network and the membership machine on it. */
	async #join(federationId: string, name: string, addresses: readonly string[]): Promise<void> {
		const options = this.#options;
		const network = await createLibp2pNetwork({
			...options.network,
			bootstrap: [...options.network.bootstrap, ...addresses],
			identitySeed: options.identitySeed,
			federationId,
			federationName: name,
			membership: this.#view,
			log: options.log.child({ component: "network" }),
			softwareVersion: options.software,
			charterVersion: () => this.#chain?.head.version ?? 0,
		});
		this.#network = network;
		const machine = new Membership({
			self: options.self,
			chain: this.#chain,
			policy: { autoApprove: () => options.autoApproveMembers },
			promises: options.records.get(PROMISES) ?? [],
			random: randomBytes,
			unixOffsetMs: Date.now() - options.nowMs(),
		});
		this.#machine = machine;
		const driver: Driver = new MachineDriver(machine, {
			persist: async (record) => {
				await options.store.journal.append(PROMISES, record);
			},
			send: (to, message) => {
				const sent = this.#send(to, message);
				const done = sent.catch(() => undefined).finally(() => this.#sending.delete(done));
				this.#sending.add(done);
				return sent;
			},
			execute: () => Promise.reject(new Error("membership has no work")),
			onOutput: (output) => this.#onOutput(output),
			onFault: (fault) => {
				options.log.warn({ peer: fault.peer, code: fault.code }, fault.message);
				options.publish({
					type: "federation.fault",
					data: { peer: fault.peer, code: fault.code, message: fault.message, proof: fault.proof },
				});
			},
			onFatal: options.onFatal,
			onUndelivered: (to, error) =>
				options.log.debug({ peer: to, err: error }, "federation message not delivered"),
			nowMs: options.nowMs,
		});
		this.#driver = driver;
		network.onPeerChange((peer, connected) =>
			options.publish({ type: connected ? "peer.connected" : "peer.disconnected", data: { peer } }),
		);
		network.onMessage(CHANNEL, (from, _channel, packet) => this.#receive(from, packet.body));
		network.onRequest(
			JOIN,
			async (from, packet) => {
				this.#receive(from, packet.body);
				await driver.idle();
				const messages = this.#mailboxes.get(from) ?? [];
				this.#mailboxes.delete(from);
				return { body: encodeCanonical(messages.map(encodeFederationMessage)) };
			},
			{ open: "candidates" },
		);
		driver.step((nowMs) => machine.start(nowMs));
		if (this.#chain?.head.members.some(({ peer }) => peer === options.self.peer)) await this.#becomeMember();
	}

	async #becomeMember(): Promise<void> {
		if (this.#isMember || this.#network === undefined) return;
		this.#isMember = true;
		await this.#options.onMember(this.#network, this);
	}

	/** A former member has nothing to say to anybody, once the others have what it said last. */
	async #closeNetwork(): Promise<void> {
		await Promise.race([
			Promise.all(this.#sending),
			new Promise((resolve) => setTimeout(resolve, LAST_WORDS_MS).unref()),
		]);
		const network = this.#network;
		this.#network = undefined;
		await network?.stop();
	}

	/** Members talk over the federation channel; a candidate asks, and is answered when it asks. */
	async #send(to: PeerId, message: FederationMessage): Promise<void> {
		const network = this.#network as Libp2pNetwork;
		const body = encodeFederationMessage(message);
		if (this.#chain === undefined) {
			const answer = await network.request(to, JOIN, { body });
			for (const reply of decodeCanonical(answer.body) as unknown as Uint8Array[]) this.#receive(to, reply);
			return;
		}
		if (this.#view.classify(to) === "member") {
			await network.send(to, CHANNEL, { body });
			return;
		}
		const waiting = this.#mailboxes.get(to) ?? [];
		if (this.#mailboxes.size < 256 && waiting.length < 64) this.#mailboxes.set(to, [...waiting, message]);
	}

	#receive(from: PeerId, body: Uint8Array): void {
		const { log } = this.#options;
		let message: FederationMessage;
		try {
			message = decodeFederationMessage(body);
		} catch (error) {
			log.warn({ peer: from, err: error }, "a federation message was dropped");
			return;
		}
		const machine = this.#machine;
		if (machine !== undefined) this.#driver?.step((nowMs) => machine.receive(from, message, nowMs));
	}

	async #onOutput(output: FederationOutput): Promise<void> {
		const { publish, log, self, onLeft } = this.#options;
		switch (output.kind) {
			case "charter": {
				const known = this.#chain?.links.length ?? 0;
				await this.#persistLinks(output.chain, known);
				this.#setChain(output.chain);
				const { head } = output.chain;
				publish({
					type: "federation.charter",
					data: { version: head.version, members: head.members.length, hash: charterHashText(head) },
				});
				log.info({ version: head.version, members: head.members.length }, "charter version");
				if (head.members.some(({ peer }) => peer === self.peer)) await this.#becomeMember();
				return;
			}
			case "pending":
				publish({ type: "federation.pending", data: { requests: this.#pendingViews() } });
				return;
			case "joined":
				publish({ type: "federation.joined", data: { version: output.version } });
				return;
			case "refused":
				this.#refused = true;
				publish({
					type: "federation.refused",
					data: { by: output.by, code: output.code, reason: output.reason },
				});
				log.warn({ peer: output.by, code: output.code }, output.reason);
				return;
			case "left":
				this.#isMember = false;
				publish({
					type: "federation.left",
					data: {
						version: output.version,
						...(output.expelledFor === undefined ? {} : { expelledFor: output.expelledFor }),
					},
				});
				log.warn(
					{ version: output.version },
					output.expelledFor === undefined ? "this node left the federation" : "this node was expelled",
				);
				await onLeft();
				await this.#closeNetwork();
				return;
			case "fork":
				publish({
					type: "federation.fork",
					data: { version: output.proof.version, suspects: [...output.proof.suspects] },
				});
				log.fatal(
					{ version: output.proof.version, suspects: output.proof.suspects },
					"two certified charters at one height: trust neither",
				);
				return;
		}
	}

	async #persistLinks(chain: CharterChain, from: number): Promise<void> {
		for (const link of chain.links.slice(from))
			await this.#options.store.journal.append(LINKS, encodeCanonical(link as never));
	}

	#setChain(chain: CharterChain): void {
		this.#chain = chain;
		this.#view.chain = chain;
		this.#options.onCharter(chain.head.version);
	}

	#pendingViews(): PendingView[] {
		const machine = this.#machine;
		const chain = this.#chain;
		if (machine === undefined || chain === undefined) return [];
		return machine.pending().map((request) => pendingView(request, quorum(electorateOf(chain.head))));
	}

	#declaration(given: JsonObject): Declaration {
		const { organization, software, declaredRecords, network } = this.#options;
		const parsed = declarationSchema.safeParse({
			organization,
			declared: { records: declaredRecords(), software },
			addresses: this.#network?.addresses().slice(0, 8) ?? network.announce ?? [],
			...given,
		});
		if (parsed.success) return parsed.data;
		const issue = parsed.error.issues[0];
		throw new AlthingError(
			"federation.bad_declaration",
			`the declaration is not valid at ${issue?.path.join(".") || "its top"}: ${issue?.message}`,
		);
	}

	#requireNone(): void {
		if (this.#chain === undefined && this.#network === undefined) return;
		throw new AlthingError(
			"federation.already_member",
			"this data directory belongs to a federation already (or has asked to); use another data directory for another federation",
		);
	}

	#requireChain(): CharterChain {
		if (this.#chain === undefined)
			throw new AlthingError("federation.none", "this node belongs to no federation");
		return this.#chain;
	}

	#requireMember(): Membership {
		this.#requireChain();
		if (!this.#isMember || this.#machine === undefined) {
			throw new AlthingError("federation.not_member", "this node is not a member of its federation any more");
		}
		return this.#machine;
	}
}

function pendingView(pending: PendingRequest, needed: number): PendingView {
	const { request, requestId, approvals, rejections } = pending;
	const { change, author } = request;
	const joins = change.kind === "join";
	return {
		requestId,
		kind: change.kind === "rules" ? "amend" : change.kind,
		subject: change.kind === "expel" ? change.peer : author,
		...(joins ? { organization: change.declaration.organization } : {}),
		requestedAt: request.requestedAt,
		...(joins ? { expiresAt: change.ticket.expiresAt } : {}),
		approvals: [...approvals],
		rejections: [...rejections],
		approvalsNeeded: pending.approvalsNeeded ?? needed,
		...(joins ? { declaration: JSON.parse(JSON.stringify(change.declaration)) as JsonObject } : {}),
	};
}
