/**
 * Secure sums of more members than one session holds: cohorts dealt by a beacon, each with a certified session of
 * its own, their sums added along a tree that every member checks and every included cohort certifies. README.md.
 */
export { FAN_IN } from "./combination.ts";
export {
	type CohortShape,
	cohortIn,
	cohortShapes,
	combinersOf,
	type DealtCohort,
	dealCohorts,
	dealingHash,
	type HierarchyRules,
} from "./dealing.ts";
export {
	cohortConfigHash,
	cohortJobId,
	type HierarchyConfig,
	type HierarchyEffects,
	HierarchyMember,
	type HierarchyOutput,
} from "./member.ts";
export {
	decodeHierarchyMessage,
	decodeTreeMessage,
	encodeHierarchyMessage,
	type HierarchyMessage,
	MAX_COHORTS,
} from "./messages.ts";
export { type RootSum, type TreeEffects, TreeMember } from "./tree.ts";
