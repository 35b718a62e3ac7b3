import { MAX_ELECTORATE } from "../certificate/index.ts";

/** The largest cohort of one session; more are served by several (protocols/hierarchy). */
export const MAX_COHORT = MAX_ELECTORATE;
/** Up to this size the graph is complete, and nothing about it is left to chance. */
export const LARGEST_COMPLETE_COHORT = 128;
/** Share holders or masked mates of one member. */
export const MAX_NEIGHBOURS = 512;
