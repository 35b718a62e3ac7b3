/** Wall clock of the RPC: Unix time in ms. Tests pass one they move by hand. */
export interface Clock {
	nowMs(): number;
}
