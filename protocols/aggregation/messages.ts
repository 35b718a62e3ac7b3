/** Wire messages: canonical CBOR, every field bounded, every statement signed by its author. */
import { z } from "zod";
import { type Encodable, encodeCanonical } from "../../crypto/encoding.ts";
import { PROJECTIONS } from "../../crypto/ringProjection.ts";
import { SIGN_PROJECTIONS } from "../../crypto/signProjection.ts";
import { SKETCH_ROWS } from "../../crypto/signSketch.ts";
import {
	MAX_HOLDERS,
	PART_SALT_BYTES,
	SEALED_SHARE_BYTES,
	SHARE_BYTES,
	SHARE_LEAF_BYTES,
	SHARE_SALT_BYTES,
} from "../../crypto/verifiableSharing.ts";
import {
	type Ballot,
	ballotSchema,
	type DeadCertificate,
	deadCertificateSchema,
	type QuorumCertificate,
	quorumCertificateSchema,
} from "../certificate/index.ts";
import { MAX_SELECTION_HOLDERS } from "../robust/outcome.ts";
import { decodeMessageOf } from "../wire.ts";
import { OWN_COMPUTATIONS, type PublicComputations } from "./computations.ts";
import { LARGEST_COMPLETE_COHORT, MAX_COHORT, MAX_NEIGHBOURS } from "./limits.ts";
import { canonical, carried } from "./statements.ts";

/** The largest encoded message; vectors travel beside it as blobs. */
export const MAX_MESSAGE_BYTES = 1024 * 1024;

const bytesUpTo = (limit: number) =>
	z.custom<Uint8Array>(
		(value) => value instanceof Uint8Array && value.length <= limit,
		`must be at most ${limit} bytes`,
	);
const bytes = (length: number) =>
	z.custom<Uint8Array>(
		(value) => value instanceof Uint8Array && value.length === length,
		`must be ${length} bytes`,
	);
const ballot: z.ZodType<Ballot> = ballotSchema;
const quorumCertificate: z.ZodType<QuorumCertificate> = quorumCertificateSchema;
const deadCertificate: z.ZodType<DeadCertificate> = deadCertificateSchema;
const hash = bytes(32);
const peer = z.string().min(40).max(64);
const term = z.int().min(0);
/** Sibling hashes in a tree over what was dealt, joined (crypto/merkle.ts). */
const path = bytesUpTo(10 * 32);
/** One bit for each of those who may contribute (memberSet.ts). */
const members = bytesUpTo(MAX_COHORT / 8);
/** A member's neighbourhood, itself included. */
const perNeighbour = <T extends z.ZodType>(of: T) => z.array(of).max(MAX_NEIGHBOURS + 1);
/** What is left out of a tree over the cohort (crypto/merkleSubset.ts). */
const proof = z.array(hash).max(MAX_COHORT);
const reason = z.string().max(300);

/** A statement and its author's signature over domain, kind and every other field. */
const signed = <K extends string, T extends z.ZodRawShape>(kind: K, fields: T) =>
	z.strictObject({ kind: z.literal(kind), author: peer, ...fields, signature: bytes(64) });

/** Phase 0: the author's keys for this attempt. */
const advert = signed("advert", {
	sidPre: hash,
	maskKey: hash,
	channelKey: hash,
	/** Buffered rounds: the version of the model that its contribution was computed from. */
	version: z.int().min(0).max(1_000_000).optional(),
});
/** Phase 0: the coordinator's commitment to one roster; two for one sidPre prove equivocation. */
const rosterHeader = signed("roster", { sidPre: hash, term, rosterRoot: hash });
/** Phase 1: the public part of a dealer's sharing; the root binds the sealed shares, too. */
export const bundleSchema = signed("bundle", {
	sid: hash,
	root: hash,
	seedCommitment: hash,
	response: bytesUpTo(16 * MAX_HOLDERS),
	/** 16 bytes for each of its mates, in the graph's order: shows that both ends hold one seed. */
	edgeTags: bytesUpTo(16 * MAX_NEIGHBOURS),
});
/** Phase 1: the author could not verify its share of `dealer`. */
const complaint = signed("complaint", { sid: hash, dealer: peer });
/** Phase 1: the dealer's public answer to a complaint of `holder`. */
const openedShare = signed("openedShare", {
	sid: hash,
	holder: peer,
	share: bytes(SHARE_BYTES),
	salt: bytes(SHARE_SALT_BYTES),
	proof: path,
});
/** Phase 1: the coordinator's commitment to U2. */
const shareSetHeader = signed("shareSet", { sid: hash, term, shareSetHash: hash });
/**
 * Phase 2: the author's masked input exists and was made for exactly this session and U2; where a part of
 * every input is shown, this is the one.
 */
const meta = signed("input", {
	sid: hash,
	shareSetHash: hash,
	inputHash: hash,
	publicHash: hash.optional(),
});
/** Disputed edges that one screening resolves; those beyond leave both ends out. */
export const MAX_DISPUTES = 256;

const perMember = <T extends z.ZodType>(of: T) => z.array(of).max(LARGEST_COMPLETE_COHORT);
/** Between 2 and 3, where inputs are screened: the inputs that the public projections were drawn after. */
const screenHeader = signed("screen", { sid: hash, term, commitment: hash });
/** Of a vector in a statement: one more with a reputation. */
const MOST_PROJECTIONS = SIGN_PROJECTIONS + 1;
/** What the author says the projections of its masked input and of its masks are, packed like a vector. */
const screenStatement = signed("statement", {
	sid: hash,
	commitment: hash,
	input: bytesUpTo(4 * MOST_PROJECTIONS),
	self: bytesUpTo(4 * MOST_PROJECTIONS),
	/** Of the masks with its mates, in their order. */
	mates: perMember(bytesUpTo(4 * MOST_PROJECTIONS)),
});
/** The public part of an author's sharing of its input's sketch among those who sent an input. */
const sketch = signed("sketch", {
	sid: hash,
	commitment: hash,
	root: hash,
	/** Of the sharing's response, which travels beside it to the holders. */
	responseHash: hash,
	/** Merkle root over the sealed shares: nobody but the dealer can be blamed for a bad one. */
	sealedRoot: hash,
});
/** Of degree f, with 4 f + 1 holders. */
const sketchResponse = bytesUpTo(12 * 5 * (Math.ceil((3 * MAX_SELECTION_HOLDERS) / 4) + 1));
const sealedSketch = bytesUpTo(12 * (SKETCH_ROWS + MAX_SELECTION_HOLDERS + 10) + 512);
/** The author opened its shares of all inner products of the sketches, and of combinations of each. */
const products = signed("products", {
	sid: hash,
	/** Hash of the sketches that it is about. */
	basis: hash,
	/** Places of the sketches whose share for the author is bad. */
	refused: z.array(z.int().min(0).max(MAX_SELECTION_HOLDERS)).max(MAX_SELECTION_HOLDERS),
	/** Hash of the shares, which everybody gets beside the messages (publicParts.ts). */
	opened: hash,
});
const partOf = z.enum(["input", "products"]);
/**
 * The one set of sketches that the author states projections for, by its hash. Holders open combinations of
 * its sketch for this set alone: for others they would be other combinations, and together tell all of it.
 */
const confirmation = signed("confirmation", { sid: hash, basis: hash });
/** All that the screening's outcome follows from. */
const screening = z.strictObject({
	metas: perMember(meta),
	/** With a selection. */
	sketches: perMember(sketch).optional(),
	products: perMember(products).optional(),
	statements: perMember(screenStatement),
	/** Those whose statement is not about the input that the proposer holds: for it alone to know. */
	leftOut: perMember(peer),
	/** Seeds of edges whose ends disagree, opened by an end that was shown the other's statement. */
	edges: z.array(z.strictObject({ low: peer, high: peer, seed: hash })).max(MAX_DISPUTES),
});
/** Phase 3: the coordinator's commitment to one proposal in a term. */
const proposalHeader = signed("proposal", { sidPre: hash, term, proposalHash: hash });
/** Phase 3: linear fingerprints of the author's masked input. */
const projection = signed("projection", {
	proposalHash: hash,
	/** Packed like a masked vector. */
	packed: bytesUpTo(4 * PROJECTIONS),
});
/** Phase 4: what a survivor opens of its own. */
const reveal = signed("reveal", { proposalHash: hash, seed: hash });

/** Everything that a survivor set means; its hash is the value that is certified. */
const proposal = z.strictObject({
	/** Who summed the inputs; signs `origin`. */
	proposer: peer,
	rosterRoot: hash,
	/** U2, and the root of the tree over its sharings: together the share set. */
	cohort: members,
	shareTree: hash,
	/** U3, and the root of the tree over its signed inputs' hashes. */
	survivors: members,
	metaTree: hash,
	sumHash: hash,
	/** Hash of the screening that the survivors passed, where inputs are screened. */
	screening: hash.optional(),
});

/** Signed metas of the survivors in the receiver's neighbourhood, and their place in the tree. */
const evidenceSchema = (computations: PublicComputations) =>
	z.strictObject({ metas: perNeighbour(carried<z.infer<typeof meta>>(meta, computations)), proof });

const openedPart = z.strictObject({
	target: peer,
	part: z.enum(["seed", "maskKey"]),
	index: z.int().min(1).max(MAX_HOLDERS),
	value: hash,
	partSalt: bytes(PART_SALT_BYTES),
	others: z.tuple([hash, hash]),
	proof: path,
});

const edgeSeeds = perNeighbour(z.strictObject({ peer, seed: hash }));

const header = z.discriminatedUnion("kind", [rosterHeader, shareSetHeader, proposalHeader]);
/** `origin` is the proposer's own header, so that nobody else can be named as proposer. */
const proposed = z.strictObject({ proposal, origin: proposalHeader });
/**
 * A quorum certificate of this session's slot, its voters one bit each of the electorate and their signatures
 * in that order: thousands of receivers read three byte strings instead of hundreds of maps.
 */
const packedCertificate = z.strictObject({
	value: hash,
	voters: members,
	signatures: bytesUpTo(64 * MAX_COHORT),
});
const certified = z.strictObject({ certificate: packedCertificate, proposed });

/** Statements that are passed on travel as bytes (statements.ts); `computations` reads them. */
function messageSchema(computations: PublicComputations) {
	const evidence = evidenceSchema(computations);
	const carriedAdvert = carried<z.infer<typeof advert>>(advert, computations);
	const carriedBundle = carried<z.infer<typeof bundleSchema>>(bundleSchema, computations);
	const carriedMeta = carried<z.infer<typeof meta>>(meta, computations);
	return z.discriminatedUnion("kind", [
		z.strictObject({
			kind: z.literal("open"),
			term,
			sidPre: hash,
			/** Of the attempt before this one; whoever lacks earlier ones is told of them in the job's own messages. */
			precedingDead: z.array(deadCertificate).max(1),
		}),
		z.strictObject({ kind: z.literal("keys"), advert: carriedAdvert }),
		z.strictObject({
			kind: z.literal("roster"),
			header: rosterHeader,
			members,
			root: hash,
			/** Of the receiver's neighbourhood. */
			adverts: perNeighbour(carriedAdvert),
			proof,
		}),
		z.strictObject({
			kind: z.literal("bundle"),
			bundle: carriedBundle,
			/** What each holder gets, in the graph's order; zeros for one that is not in the roster. */
			leaves: bytesUpTo(SHARE_LEAF_BYTES * MAX_HOLDERS),
			sealed: bytesUpTo(SEALED_SHARE_BYTES * MAX_HOLDERS),
		}),
		z.strictObject({
			kind: z.literal("shares"),
			sid: hash,
			/** How many dealers the receiver holds shares of, over all messages of this kind. */
			dealers: z.int().min(0).max(MAX_NEIGHBOURS),
			/** `sealed` is empty for a mate whose shares the receiver does not hold. */
			dealt: perNeighbour(
				z.strictObject({ bundle: carriedBundle, sealed: bytesUpTo(SEALED_SHARE_BYTES), path }),
			),
		}),
		z.strictObject({ kind: z.literal("ack"), sid: hash, complaints: perNeighbour(complaint) }),
		z.strictObject({ kind: z.literal("openRequest"), complaints: perNeighbour(complaint) }),
		z.strictObject({ kind: z.literal("openShares"), opened: perNeighbour(openedShare) }),
		z.strictObject({
			kind: z.literal("shareSet"),
			header: shareSetHeader,
			cohort: members,
			root: hash,
			proof,
			/** Answers to the receiver's complaints. */
			opened: perNeighbour(openedShare),
		}),
		z.strictObject({ kind: z.literal("input"), meta: carriedMeta }),
		z.strictObject({ kind: z.literal("receipt"), sid: hash }),
		/** The blob is the part of the author's input that everybody may see, or what it opened of sketches. */
		z.strictObject({ kind: z.literal("publicPart"), of: partOf, author: peer }),
		z.strictObject({ kind: z.literal("publicPartRequest"), of: partOf, author: peer, hash }),
		/** Asks a survivor for its masked input once more: its projection is in doubt. */
		z.strictObject({ kind: z.literal("inputRequest"), proposalHash: hash }),
		z.strictObject({ kind: z.literal("screen"), header: screenHeader, metas: perMember(meta) }),
		z.strictObject({
			kind: z.literal("sketch"),
			sketch,
			response: sketchResponse,
			sealed: perMember(sealedSketch),
		}),
		z.strictObject({
			kind: z.literal("sketches"),
			dealt: perMember(z.strictObject({ sketch, response: sketchResponse, sealed: sealedSketch, path })),
		}),
		/** With what the author opened, as the blob. */
		z.strictObject({ kind: z.literal("confirm"), confirmation }),
		z.strictObject({ kind: z.literal("confirmed"), confirmations: perMember(confirmation) }),
		z.strictObject({
			kind: z.literal("statement"),
			statement: screenStatement,
			products: products.optional(),
		}),
		/** Shows the receiver the statements of mates that contradict its own. */
		z.strictObject({ kind: z.literal("disputed"), statements: perMember(screenStatement) }),
		z.strictObject({ kind: z.literal("edgeSeeds"), sid: hash, edges: edgeSeeds }),
		z.strictObject({
			kind: z.literal("propose"),
			header: proposalHeader,
			proposed,
			evidence,
			screening: screening.optional(),
			/** With a screening, to a member outside the roster: what it is judged by. */
			session: z
				.strictObject({ adverts: perNeighbour(carriedAdvert), bundles: perNeighbour(carriedBundle) })
				.optional(),
		}),
		z.strictObject({
			kind: z.literal("vote"),
			ballot,
			projection: projection.optional(),
			headers: z.array(header).max(3),
		}),
		z.strictObject({ kind: z.literal("certified"), certified, evidence: evidence.optional() }),
		z.strictObject({
			kind: z.literal("reveal"),
			reveal,
			projection: projection.optional(),
			/** Shares of the mask keys of dropped members. */
			parts: z.array(openedPart).max(MAX_HOLDERS),
		}),
		z.strictObject({ kind: z.literal("shareRequest"), proposalHash: hash, targets: perNeighbour(peer) }),
		z.strictObject({
			kind: z.literal("shareReply"),
			sid: hash,
			parts: z.array(openedPart).max(MAX_HOLDERS),
		}),
		/** Asks for seeds of edges to dropped members that shared another mask key than they advertised. */
		z.strictObject({ kind: z.literal("edgeRequest"), proposalHash: hash, targets: perNeighbour(peer) }),
		z.strictObject({ kind: z.literal("edgeReply"), sid: hash, edges: edgeSeeds }),
		/** Asks for adverts and bundles of members in the receiver's neighbourhood. */
		z.strictObject({ kind: z.literal("recordsRequest"), targets: perNeighbour(peer) }),
		z.strictObject({
			kind: z.literal("records"),
			adverts: perNeighbour(carriedAdvert),
			bundles: perNeighbour(carriedBundle),
		}),
		/** The opening travels as payload (opening.ts). */
		z.strictObject({ kind: z.literal("opening"), proposalHash: hash, screening: screening.optional() }),
		z.strictObject({ kind: z.literal("done"), sid: hash }),
		z.strictObject({ kind: z.literal("sumRequest"), sumHash: hash }),
		z.strictObject({ kind: z.literal("sum"), sumHash: hash }),
		z.strictObject({ kind: z.literal("recover"), sidPre: hash, term }),
		z.strictObject({
			kind: z.literal("report"),
			term,
			ballot: ballot.optional(),
			proposed: proposed.optional(),
			certificate: quorumCertificate.optional(),
			/** What the author was shown of the inputs around it. */
			evidence: evidence.optional(),
			screening: screening.optional(),
			hasSum: z.boolean(),
			projections: z.array(projection).max(8),
			headers: z.array(header).max(3),
		}),
		z.strictObject({ kind: z.literal("abstainRequest"), sidPre: hash, term, reason }),
		z.strictObject({ kind: z.literal("dead"), certificate: deadCertificate, reason }),
	]);
}

const ownSchema = messageSchema(OWN_COMPUTATIONS);
const schemas = new WeakMap<PublicComputations, typeof ownSchema>([[OWN_COMPUTATIONS, ownSchema]]);

export type AggregationMessage = z.infer<typeof ownSchema>;
export type MessageOf<K extends AggregationMessage["kind"]> = Extract<AggregationMessage, { kind: K }>;
export type Advert = z.infer<typeof advert>;
export type RosterHeader = z.infer<typeof rosterHeader>;
export type Bundle = z.infer<typeof bundleSchema>;
export type Complaint = z.infer<typeof complaint>;
export type OpenedShare = z.infer<typeof openedShare>;
export type ShareSetHeader = z.infer<typeof shareSetHeader>;
export type InputMeta = z.infer<typeof meta>;
export type ProposalHeader = z.infer<typeof proposalHeader>;
export type Projection = z.infer<typeof projection>;
export type Reveal = z.infer<typeof reveal>;
export type Proposal = z.infer<typeof proposal>;
export type Proposed = z.infer<typeof proposed>;
export type PackedCertificate = z.infer<typeof packedCertificate>;
/** A certificate with the proposal it is for. */
export interface Certified {
	readonly certificate: QuorumCertificate;
	readonly proposed: Proposed;
}
export type Evidence = z.infer<ReturnType<typeof evidenceSchema>>;
export type ScreenHeader = z.infer<typeof screenHeader>;
export type Sketch = z.infer<typeof sketch>;
export type Products = z.infer<typeof products>;
export type Confirmation = z.infer<typeof confirmation>;
export type ScreenStatement = z.infer<typeof screenStatement>;
export type Screening = z.infer<typeof screening>;
export type Header = z.infer<typeof header>;
export type OpenedPartMessage = z.infer<typeof openedPart>;

/** What goes to many is encoded once. */
const encodedMessages = new WeakMap<AggregationMessage, Uint8Array>();

/** The message's bytes, which are not to be changed. */
export function encodeMessage(message: AggregationMessage): Uint8Array {
	const known = encodedMessages.get(message);
	if (known !== undefined) return known;
	const bytes = encodeCanonical(wireForm(message) as Encodable);
	encodedMessages.set(message, bytes);
	return bytes;
}

/**
 * @param computations what a simulation of many members shares among them; a node has none
 * @throws AlthingError `aggregation.malformed` when the bytes are no message of this protocol.
 */
export function decodeMessage(
	encoded: Uint8Array,
	computations: PublicComputations = OWN_COMPUTATIONS,
): AggregationMessage {
	const schema = schemas.get(computations) ?? messageSchema(computations);
	schemas.set(computations, schema);
	return decodeMessageOf("aggregation", schema, encoded, MAX_MESSAGE_BYTES);
}

/** The message with its carried statements as bytes. */
function wireForm(message: AggregationMessage): object {
	switch (message.kind) {
		case "keys":
			return { ...message, advert: canonical(message.advert) };
		case "roster":
			return { ...message, adverts: message.adverts.map(canonical) };
		case "bundle":
			return { ...message, bundle: canonical(message.bundle) };
		case "shares":
			return {
				...message,
				dealt: message.dealt.map((dealt) => ({ ...dealt, bundle: canonical(dealt.bundle) })),
			};
		case "input":
			return { ...message, meta: canonical(message.meta) };
		case "records":
			return {
				...message,
				adverts: message.adverts.map(canonical),
				bundles: message.bundles.map(canonical),
			};
		case "propose": {
			const { evidence, session } = message;
			return {
				...message,
				evidence: { ...evidence, metas: evidence.metas.map(canonical) },
				...(session === undefined
					? {}
					: {
							session: {
								adverts: session.adverts.map(canonical),
								bundles: session.bundles.map(canonical),
							},
						}),
			};
		}
		case "certified":
		case "report": {
			const { evidence } = message;
			if (evidence === undefined) return message;
			return { ...message, evidence: { ...evidence, metas: evidence.metas.map(canonical) } };
		}
		default:
			return message;
	}
}
