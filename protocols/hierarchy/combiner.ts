/**
 * What the combiner does: adds certified cohort sums along the tree, has every included cohort check the root, and
 * collects the decision for it. A cohort that does not answer is left out of the next root it proposes. It is
 * trusted with nothing, and any other can take over: whatever it needs is sent to it again.
 */
import { equalBytes } from "../../crypto/encoding.ts";
import { isPacked } from "../../crypto/ringPacking.ts";
import { OWN_COMPUTATIONS, type PublicComputations } from "../aggregation/index.ts";
import type { PeerId } from "../contract.ts";
import { combine, nameOf, type Path, type SumName } from "./combination.ts";
import type { TreeMessageOf } from "./messages.ts";
import {
	type CohortStatement,
	certifiedBy,
	cohortSlot,
	cohortValue,
	decisionSlot,
	isMajority,
	type PackedCertificate,
	rootSlot,
	rootValue,
	survivorsOf,
} from "./statements.ts";
import type { TreeCollector, TreeConfig } from "./tree.ts";

const TIMER = "combine";

interface CertifiedSum {
	readonly statement: CohortStatement;
	readonly packed: Uint8Array;
	readonly survivors: number;
}

interface Proposal {
	readonly value: Uint8Array;
	readonly root: SumName;
	readonly included: readonly CohortStatement[];
	readonly paths: ReadonlyMap<
		number,
		{ readonly message: TreeMessageOf<"path">; readonly totals: Uint8Array }
	>;
	readonly certificates: Map<number, PackedCertificate>;
}

export class Combiner {
	readonly #config: TreeConfig;
	readonly #dealing: Uint8Array;
	readonly #sums = new Map<number, CertifiedSum>();
	/** Who speaks for each cohort. */
	readonly #speakers = new Map<number, PeerId>();
	readonly #absent = new Set<number>();
	/** Cohorts that did not check a root in time. */
	readonly #silent = new Set<number>();
	#waited = false;
	#proposal: Proposal | undefined;
	#attested: TreeMessageOf<"attested"> | undefined;
	readonly #decisions = new Map<number, PackedCertificate>();
	#decided: TreeMessageOf<"decided"> | undefined;

	constructor(config: TreeConfig, dealing: Uint8Array) {
		this.#config = config;
		this.#dealing = dealing;
	}

	takeSum(
		out: TreeCollector,
		from: PeerId,
		{ statement, certificate }: TreeMessageOf<"cohortSum">,
		packed: Uint8Array,
	): void {
		const { cohorts, length, modulusBits, combineTimeoutMs } = this.#config;
		const { cohort } = statement;
		const survivors = survivorsOf(cohorts, statement);
		const known = this.#sums.get(cohort);
		if (known !== undefined) {
			if (!this.#isMember(cohort, from)) return;
			this.#speaks(out, cohort, from);
			this.#answer(out, cohort, from);
			return;
		}
		const value =
			survivors !== undefined && isPacked(packed, modulusBits, length)
				? cohortValue(this.#dealing, statement, nameOf(packed, survivors.length).sumHash)
				: undefined;
		const slot = (index: number) => cohortSlot(this.#config, index);
		const sound =
			value !== undefined &&
			certifiedBy(cohorts, [{ cohort, certificate }], slot, value, this.#computations).size === 1;
		if (survivors === undefined || !sound) {
			const message = `${from} sent a sum that its cohort did not certify.`;
			out.fault({ peer: from, code: "hierarchy.bad_sum", message, proof: false });
			return;
		}
		if (this.#sums.size === 0) out.timer(TIMER, combineTimeoutMs);
		this.#sums.set(cohort, { statement, packed, survivors: survivors.length });
		this.#speaks(out, cohort, from);
		this.#rebuild();
		if (this.#attested !== undefined) this.#answer(out, cohort, from);
		this.#propose(out);
	}

	takeAbsent(out: TreeCollector, from: PeerId, cohort: number): void {
		if (!this.#isMember(cohort, from)) return;
		this.#absent.add(cohort);
		this.#propose(out);
	}

	/** Time is over: for sums that are still to come, or for cohorts to check the root. */
	expired(out: TreeCollector, timer: string): void {
		if (timer !== TIMER || this.#attested !== undefined) return;
		this.#waited = true;
		const proposal = this.#proposal;
		if (proposal !== undefined) {
			for (const { cohort } of proposal.included)
				if (!proposal.certificates.has(cohort)) this.#silent.add(cohort);
			this.#proposal = undefined;
		}
		this.#propose(out);
	}

	/** Adds up what is certified, when nothing more is to come or the time is over. */
	#propose(out: TreeCollector): void {
		const { cohorts, combineTimeoutMs } = this.#config;
		if (this.#proposal !== undefined || this.#attested !== undefined) return;
		const absent = [...this.#absent].filter((cohort) => !this.#sums.has(cohort)).length;
		if (!this.#waited && this.#sums.size + absent < cohorts.length) return;
		const sums = [...this.#sums.values()]
			.filter(({ statement }) => !this.#silent.has(statement.cohort))
			.sort((a, b) => a.statement.cohort - b.statement.cohort);
		if (!isMajority(sums.length, cohorts.length)) return;
		this.#proposal = this.#rootOver(sums);
		out.timer(TIMER, combineTimeoutMs);
		for (const { statement } of sums) this.#showPath(out, statement.cohort);
	}

	#rootOver(sums: readonly CertifiedSum[]): Proposal {
		const { length, modulusBits } = this.#config;
		const tree = combine(sums, { length, modulusBits });
		const included = sums.map(({ statement }) => statement);
		const root = nameOf(tree.packed, tree.survivors);
		const paths = new Map(
			included.map(({ cohort }, place) => [cohort, wayDown(included, tree.paths[place] as Path)] as const),
		);
		const value = rootValue(this.#dealing, root, included);
		return { value, root, included, paths, certificates: new Map() };
	}

	/** The ways down from a root that another combiner proposed, once all its sums are here, for who lost them. */
	#rebuild(): void {
		if (this.#attested === undefined || this.#proposal !== undefined) return;
		const sums = this.#attested.included.flatMap(({ cohort }) => this.#sums.get(cohort) ?? []);
		if (sums.length === this.#attested.included.length) this.#proposal = this.#rootOver(sums);
	}

	takeRootCertificate(
		out: TreeCollector,
		from: PeerId,
		{ cohort, certificate }: TreeMessageOf<"rootCertificate">,
	): void {
		if (this.#attested !== undefined) {
			this.#answer(out, cohort, from);
			return;
		}
		const proposal = this.#proposal;
		if (proposal === undefined || !equalBytes(certificate.value, proposal.value)) return;
		if (!this.#isCertified(cohort, certificate, rootSlot(this.#config, cohort, proposal.value))) return;
		proposal.certificates.set(cohort, certificate);
		const { root, included } = proposal;
		if (!included.every((one) => proposal.certificates.has(one.cohort))) return;
		const certificates = included.map((one) => ({
			cohort: one.cohort,
			certificate: proposal.certificates.get(one.cohort) as PackedCertificate,
		}));
		this.takeAttested(out, { kind: "attested", root, included: [...included], certificates });
	}

	/** A root that all it includes have checked: this combiner's own, or that of one before it. Verified. */
	takeAttested(out: TreeCollector, message: TreeMessageOf<"attested">): void {
		if (this.#attested !== undefined) return;
		this.#attested = message;
		const value = rootValue(this.#dealing, message.root, message.included);
		if (this.#proposal !== undefined && !equalBytes(this.#proposal.value, value)) this.#proposal = undefined;
		this.#rebuild();
		out.timer(TIMER, null);
		for (const { cohort } of message.included) {
			const speaker = this.#speakers.get(cohort);
			if (speaker !== undefined) out.send(speaker, message);
		}
	}

	takeDecisionCertificate(
		out: TreeCollector,
		from: PeerId,
		{ cohort, certificate }: TreeMessageOf<"decisionCertificate">,
	): void {
		if (!this.#isCertified(cohort, certificate, decisionSlot(this.#config, cohort))) return;
		this.#speaks(out, cohort, from);
		this.#decisions.set(cohort, certificate);
		if (this.#decided !== undefined) {
			out.send(from, this.#decided);
			return;
		}
		const equal = [...this.#decisions].filter(([, one]) => equalBytes(one.value, certificate.value));
		if (!isMajority(equal.length, this.#config.cohorts.length)) return;
		const certificates = equal.map(([of, one]) => ({ cohort: of, certificate: one }));
		this.takeDecided(out, { kind: "decided", certificates });
	}

	/** Verified. */
	takeDecided(out: TreeCollector, message: TreeMessageOf<"decided">): void {
		if (this.#decided !== undefined) return;
		this.#decided = message;
		out.timer(TIMER, null);
		for (const speaker of this.#speakers.values()) out.send(speaker, message);
	}

	/** Who speaks for a cohort now. Whoever takes over calls the others: some may be further than the one that came. */
	#speaks(out: TreeCollector, cohort: number, from: PeerId): void {
		const { combiners, self } = this.#config;
		if (this.#speakers.size === 0 && combiners[0] !== self.peer)
			out.sendAll(
				combiners.filter((peer) => peer !== from),
				{ kind: "call" },
			);
		this.#speakers.set(cohort, from);
	}

	/** What comes next for a cohort that repeats itself, or has a new speaker. */
	#answer(out: TreeCollector, cohort: number, to: PeerId): void {
		this.#showPath(out, cohort);
		if (this.#attested?.included.some((one) => one.cohort === cohort)) out.send(to, this.#attested);
		if (this.#decided !== undefined) out.send(to, this.#decided);
	}

	#showPath(out: TreeCollector, cohort: number): void {
		const speaker = this.#speakers.get(cohort);
		const path = this.#proposal?.paths.get(cohort);
		if (speaker !== undefined && path !== undefined) out.send(speaker, path.message, path.totals);
	}

	#isCertified(cohort: number, certificate: PackedCertificate, slot: ReturnType<typeof rootSlot>): boolean {
		const { cohorts } = this.#config;
		return (
			certifiedBy(cohorts, [{ cohort, certificate }], () => slot, certificate.value, this.#computations)
				.size === 1
		);
	}

	get #computations(): PublicComputations {
		return this.#config.computations ?? OWN_COMPUTATIONS;
	}

	#isMember(cohort: number, peer: PeerId): boolean {
		return this.#config.cohorts[cohort]?.electorate.members.includes(peer) === true;
	}
}

function wayDown(included: readonly CohortStatement[], path: Path) {
	const additions = path.map(({ addition: { parts, total, partProjections, totalProjection } }) => ({
		parts: [...parts],
		total,
		partProjections: [...partProjections],
		totalProjection,
	}));
	return {
		message: { kind: "path" as const, included: [...included], additions },
		totals: Buffer.concat(path.map(({ packed }) => packed)),
	};
}
