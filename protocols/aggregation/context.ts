/** What all parts of one session share. */
import type { Slot } from "../certificate/index.ts";
import type { PeerId } from "../contract.ts";
import { openedBytes } from "../robust/sketching.ts";
import type { Admission } from "./admission.ts";
import { BucketGraph } from "./bucketGraph.ts";
import { type CohortGraph, cohortGraph } from "./cohortGraph.ts";
import { OWN_COMPUTATIONS, type PublicComputations } from "./computations.ts";
import type { AggregationConfig } from "./configuration.ts";
import { HeaderLog } from "./headerLog.ts";
import { LARGEST_COMPLETE_COHORT } from "./limits.ts";
import { PublicParts } from "./publicParts.ts";
import { preliminarySessionId, survivorsSlot } from "./sessionId.ts";

export class Context {
	readonly config: AggregationConfig;
	readonly sidPre: Uint8Array;
	readonly slot: Slot;
	readonly headers = new HeaderLog();
	/** Parts of inputs that are not masked. */
	readonly parts: PublicParts;
	/** What holders opened of shared sketches. */
	readonly openings: PublicParts;
	/** Who holds whose shares and is masked against whom, among those who may contribute. */
	readonly graph: CohortGraph;
	/** Members that the links say are gone: nobody waits for them, and nothing else follows from it. */
	readonly unreachable = new Set<PeerId>();
	/** Whose orders are followed now. */
	coordinator: PeerId;
	term: number;

	constructor(config: AggregationConfig) {
		this.config = config;
		this.sidPre = preliminarySessionId(config);
		this.slot = survivorsSlot(config);
		const { publicBytes } = config;
		this.parts = new PublicParts(this, "input", (sizeBytes) => sizeBytes === publicBytes);
		const selecting = config.screening?.selection !== undefined;
		const largest = openedBytes(this.selected.length);
		this.openings = new PublicParts(this, "products", (sizeBytes) => selecting && sizeBytes <= largest);
		this.graph =
			config.buckets === undefined
				? cohortGraph(this.selected, config.cohort, config.graphSeed)
				: new BucketGraph(this.selected, config.buckets, config.graphSeed);
		this.coordinator = config.coordinator;
		this.term = config.term;
	}

	get self(): PeerId {
		return this.config.self.peer;
	}

	/** Those among `peers` whose answer is worth waiting for. */
	awaited(peers: readonly PeerId[]): PeerId[] {
		return peers.filter((peer) => !this.unreachable.has(peer));
	}

	/** Who hears of this node's vote: everybody, in a large cohort the nearest. */
	get witnesses(): readonly PeerId[] {
		const small = this.config.cohort.graph === "complete" && this.members.length <= LARGEST_COMPLETE_COHORT;
		return small ? this.members : [this.self, ...this.graph.witnessesOf(this.self)];
	}

	/** Everybody who votes. */
	get members(): readonly PeerId[] {
		return this.config.electorate.members;
	}

	get admission(): Admission {
		const { round, buffer } = this.config;
		return { selected: this.selected, round, buffer };
	}

	/** Whether an input that has arrived may still be left out of the sum. */
	get selects(): boolean {
		return this.config.screening !== undefined || this.config.publicBytes !== undefined;
	}

	get computations(): PublicComputations {
		return this.config.computations ?? OWN_COMPUTATIONS;
	}

	/** Who may contribute. */
	get selected(): readonly PeerId[] {
		return this.config.selected ?? this.members;
	}
}
