/** Parsers of option values, with one clear sentence for a bad one. */
import { InvalidArgumentError } from "commander";

/** A non-negative integer. */
export function parseInteger(text: string): number {
	if (!/^\d{1,15}$/.test(text)) throw new InvalidArgumentError("It must be a whole number, 0 or more.");
	return Number(text);
}

/** A positive number, exponents allowed (delta is often 1e-6). */
export function parsePositive(text: string): number {
	const value = Number(text);
	if (text.trim() === "" || !Number.isFinite(value) || value <= 0) {
		throw new InvalidArgumentError("It must be a positive number.");
	}
	return value;
}
