/** Families of RDP curves, zCDP, and what is accounted by RDP alone; at the library's orders, where finer ones would be tighter. */
import { z } from "zod";
import {
	gaussian,
	type PrivacyEvent,
	poissonSampled,
	selfComposed,
} from "../../src/privacy/accounting/events.ts";
import { treeLevels } from "../../src/privacy/accounting/matrixMechanism.ts";
import {
	repeatAndSelectRdp,
	truncatedNegativeBinomialGamma,
} from "../../src/privacy/accounting/rdp/repeatAndSelect.ts";
import { withoutReplacementRdp } from "../../src/privacy/accounting/rdp/withoutReplacement.ts";
import { curveOf, epsilonFromRdp } from "../../src/privacy/accounting/rdp.ts";
import { zcdpEpsilon, zcdpRho } from "../../src/privacy/accounting/zcdp.ts";
import { type Family, type Figures, family } from "./family.ts";
import { LIBRARY_ORDERS } from "./libraryOrders.ts";
import { libraryFractionalRdp } from "./librarySeries.ts";

const number = z.number();
const orders = z.array(z.number().min(1)).min(1);

/** Curves are kept above order 1; the divergence of order 1 is their limit. */
const aboveOne = (order: number): number => (order === 1 ? 1 + 1e-12 : order);

/** RDP at any orders, in the order given. */
function rdpAt(event: PrivacyEvent, at: readonly number[]): number[] {
	return at.map((order) => exactCurve(event, [order])[0]!);
}

type SampledGaussian = { readonly q: number; readonly sigma: number };

const sampled = ({ q, sigma }: SampledGaussian) => poissonSampled(q, gaussian(sigma));

/** An event's curve with the library's series for sampled Gaussians between the integer orders. */
function libraryCurve(event: PrivacyEvent, at: readonly number[]): Float64Array {
	switch (event.kind) {
		case "selfComposed":
			return libraryCurve(event.event, at).map((rdp) => rdp * event.count);
		case "composed": {
			const parts = event.events.map((part) => libraryCurve(part, at));
			return Float64Array.from(at, (_, i) => parts.reduce((sum, part) => sum + part[i]!, 0));
		}
		case "poissonSampled": {
			const { event: inner, samplingProbability: q } = event;
			if (inner.kind !== "gaussian" || q === 1) return exactCurve(event, at);
			return Float64Array.from(at, (order) =>
				Number.isInteger(order)
					? exactCurve(event, [order])[0]!
					: libraryFractionalRdp(q, inner.noiseMultiplier, order),
			);
		}
		default:
			return exactCurve(event, at);
	}
}

const exactCurve = (event: PrivacyEvent, at: readonly number[]): Float64Array =>
	curveOf(event, "addRemove", at.map(aboveOne));

/** Epsilon by RDP at the library's orders. */
export function rdpEpsilon(event: PrivacyEvent, delta: number): number {
	return epsilonFromRdp(exactCurve(event, LIBRARY_ORDERS), delta, LIBRARY_ORDERS).epsilon;
}

/** {@link rdpEpsilon} with the library's series between the integer orders. */
export function libraryRdpEpsilon(event: PrivacyEvent, delta: number): number {
	return epsilonFromRdp(libraryCurve(event, LIBRARY_ORDERS), delta, LIBRARY_ORDERS).epsilon;
}

const selection = {
	q: number,
	sigma: number,
	steps: number,
	mean: number,
	shape: z.union([z.number(), z.literal("inf")]),
	delta: number,
};

type Selection = SampledGaussian & { steps: number; mean: number; shape: number | "inf"; delta: number };

const oneRun = (params: Selection) => selfComposed(sampled(params), params.steps);

function selectionFigures(params: Selection, run: Float64Array): Figures {
	const shape = params.shape === "inf" ? "poisson" : params.shape;
	const selected = repeatAndSelectRdp(run, { meanTrials: params.mean, shape }, LIBRARY_ORDERS);
	return {
		epsilon: epsilonFromRdp(selected, params.delta, LIBRARY_ORDERS).epsilon,
		epsilon_single_run: epsilonFromRdp(run, params.delta, LIBRARY_ORDERS).epsilon,
		...(shape === "poisson" ? {} : { gamma: truncatedNegativeBinomialGamma(shape, params.mean) }),
	};
}

export const renyiFamilies: Readonly<Record<string, Family>> = {
	rdp_poisson_gaussian_orders: family(
		{ q: number, sigma: number, orders },
		(params) => ({ rdp: rdpAt(sampled(params), params.orders) }),
		(params) => ({ rdp: params.orders.map((order) => libraryCurve(sampled(params), [order])[0]!) }),
	),
	rdp_laplace_orders: family({ epsilon: number, orders }, ({ epsilon, orders: at }) => ({
		rdp: rdpAt({ kind: "laplace", scale: 1 / epsilon }, at),
	})),
	rdp_exponential_mechanism_orders: family({ epsilon: number, orders }, ({ epsilon, orders: at }) => ({
		rdp: rdpAt({ kind: "boundedRange", epsilon }, at),
	})),
	// The failure probability is charged to delta, beside the curve.
	rdp_pure_dp_orders: family({ epsilon: number, delta: number, orders }, ({ epsilon, orders: at }) => ({
		rdp: rdpAt({ kind: "pureDp", epsilon }, at),
	})),
	rdp_sample_without_replacement_orders: family({ q: number, sigma: number, orders }, (params) => ({
		rdp: params.orders.map(
			(order) =>
				withoutReplacementRdp({ samplingFraction: params.q, noiseMultiplier: params.sigma }, "replaceOne", [
					order,
				])[0]!,
		),
	})),
	fixed_batch_without_replacement: family(
		{ n: number, batch: number, sigma: number, steps: number, delta: number },
		({ n, batch, sigma, steps, delta }) => {
			const one = withoutReplacementRdp(
				{ samplingFraction: batch / n, noiseMultiplier: sigma },
				"replaceOne",
				LIBRARY_ORDERS,
			);
			return {
				epsilon_rdp: epsilonFromRdp(
					one.map((rdp) => rdp * steps),
					delta,
					LIBRARY_ORDERS,
				).epsilon,
			};
		},
	),
	repeat_and_select: family(
		selection,
		(params) => selectionFigures(params, exactCurve(oneRun(params), LIBRARY_ORDERS)),
		(params) => selectionFigures(params, libraryCurve(oneRun(params), LIBRARY_ORDERS)),
	),
	tree_aggregation: family(
		{ sigma: number, steps_per_restart: number, restarts: number, delta: number },
		({ sigma, steps_per_restart, restarts, delta }) => {
			const depth = treeLevels(steps_per_restart);
			const curve = curveOf(
				{ kind: "zeroConcentrated", rho: (restarts * depth) / (2 * sigma * sigma) },
				"addRemove",
				LIBRARY_ORDERS,
			);
			return { epsilon_rdp: epsilonFromRdp(curve, delta, LIBRARY_ORDERS).epsilon, depth };
		},
	),
	zcdp_epsilon: family({ rho: number, delta: number }, ({ rho, delta }) => ({
		epsilon: zcdpEpsilon(rho, delta),
		naive: rho + 2 * Math.sqrt(-rho * Math.log(delta)),
	})),
	zcdp_rho: family({ epsilon: number, delta: number }, ({ epsilon, delta }) => ({
		rho: zcdpRho(epsilon, delta),
	})),
};
