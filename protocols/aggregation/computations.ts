/**
 * The one place where work on public bytes can be shared: reading a statement, checking a certificate or an
 * opening gives the same at every member that is shown the same bytes. A node computes all of it itself; a
 * simulation of a thousand members in one process passes its own memory, and says so beside its figures.
 */
export interface PublicComputations {
	/** The result of `compute`, which must follow from `kind` and `inputs()` alone and must not be changed. */
	once<T>(kind: PublicComputation, inputs: () => readonly Uint8Array[], compute: () => T): T;
}

/** `statement`: decoded and its shape checked. `certificate`: its signatures. `opening`: every secret in it. */
export type PublicComputation = "statement" | "certificate" | "opening";

/** What every node does. */
export const OWN_COMPUTATIONS: PublicComputations = { once: (_kind, _inputs, compute) => compute() };
