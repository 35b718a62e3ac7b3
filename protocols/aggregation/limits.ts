/** The largest cohort of a complete share graph with one bucket. */
export const MAX_COHORT = 64;
