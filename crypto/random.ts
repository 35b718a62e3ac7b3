/** The one source of randomness for keys, masks and nonces: the operating system's CSPRNG. */
import { randomFillSync } from "node:crypto";

/**
 * Fresh bytes from the system CSPRNG.
 * @param length number of bytes, a non-negative integer
 */
export function randomBytes(length: number): Uint8Array {
	// A plain array of its own, never a slice of Node's shared Buffer pool.
	return randomFillSync(new Uint8Array(length));
}
