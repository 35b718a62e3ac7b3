/** Every method of the admin RPC, and the types the client infers from them. */
import type { z } from "zod";
import type { Method } from "../registry.ts";
import { budgetMethods } from "./budgets.ts";
import { dataMethods } from "./data.ts";
import { federationMethods } from "./federation.ts";
import { jobMethods } from "./jobs.ts";
import { modelMethods } from "./models.ts";
import { nodeMethods } from "./node.ts";
import { privacyMethods } from "./privacy.ts";
import { queryMethods } from "./queries.ts";
import { tokenMethods } from "./tokens.ts";
import { tuningMethods } from "./tuning.ts";

const definitions = [
	...nodeMethods,
	...federationMethods,
	...dataMethods,
	...jobMethods,
	...modelMethods,
	...queryMethods,
	...budgetMethods,
	...privacyMethods,
	...tuningMethods,
	...tokenMethods,
] as const;

type Definition = (typeof definitions)[number];
export type MethodName = Definition["name"];
type Named<Name extends MethodName> = Extract<Definition, { readonly name: Name }>;
/** What a caller passes: keys with defaults may be left out. */
export type ParamsOf<Name extends MethodName> = z.input<Named<Name>["params"]>;
export type ResultOf<Name extends MethodName> = z.output<Named<Name>["result"]>;

/** The registry by name, in the order of the documentation. */
export const methods: ReadonlyMap<string, Method> = new Map<string, Method>(
	definitions.map((method) => [method.name, method]),
);
