/** Statements that their author signs: how they are signed, checked, read and passed on. */
import { z } from "zod";
import { type Encodable, encodeCanonical } from "../../crypto/encoding.ts";
import { sha256 } from "../../crypto/hash.ts";
import { type SigningKey, verification, verifySignature } from "../../crypto/identity.ts";
import { decodeMessageOf } from "../wire.ts";
import type { PublicComputations } from "./computations.ts";
import { DOMAIN } from "./sessionId.ts";

/** A sharing with the most holders and mates there can be is the longest. */
const MAX_STATEMENT_BYTES = 16 * 1024;

export type Statement = { readonly kind: string; readonly author: string; readonly signature: Uint8Array };
type Unsigned<T extends Statement> = T extends Statement ? Omit<T, "signature" | "author"> : never;

/** Signs a statement as `key`'s peer. */
export function signStatement<T extends Statement>(key: SigningKey, unsigned: Unsigned<T>): T {
	const fields = { ...unsigned, author: key.peer };
	return { ...fields, signature: key.sign(statementBytes(fields)) } as unknown as T;
}

/** Statements are never changed, so what was found out about one stays true. */
const authentic = new WeakMap<Statement, boolean>();

/** True when the statement was signed by its author. */
export function isAuthentic(statement: Statement): boolean {
	const known = authentic.get(statement);
	if (known !== undefined) {
		verification.asked++;
		return known;
	}
	const { signature, ...fields } = statement;
	const result = verifySignature(statement.author, statementBytes(fields), signature);
	authentic.set(statement, result);
	return result;
}

function statementBytes(fields: object): Uint8Array {
	return encodeCanonical([DOMAIN, fields as { [key: string]: Encodable }]);
}

const encoded = new WeakMap<object, Uint8Array>();

/** Canonical bytes of a statement, signature included; not to be changed, nor the statement. */
export function canonical(statement: object): Uint8Array {
	const known = encoded.get(statement);
	if (known !== undefined) return known;
	const bytes = encodeCanonical(statement as { [key: string]: Encodable });
	encoded.set(statement, bytes);
	return bytes;
}

const hashes = new WeakMap<object, Uint8Array>();

/** SHA-256 of a statement's canonical bytes. */
export function statementHash(statement: object): Uint8Array {
	const known = hashes.get(statement) ?? sha256(canonical(statement));
	hashes.set(statement, known);
	return known;
}

/**
 * Schema of a statement that a message carries as its canonical bytes: who passes it on copies them, and who
 * checks it has at hand what trees and comparisons are about.
 */
export function carried<T extends Statement>(
	schema: z.ZodType<T>,
	computations: PublicComputations,
): z.ZodType<T, Uint8Array> {
	return z
		.custom<Uint8Array>((value) => value instanceof Uint8Array, "must be the bytes of a statement")
		.transform((bytes, context): T => {
			try {
				return computations.once(
					"statement",
					() => [bytes],
					() => read(schema, bytes),
				);
			} catch (error) {
				context.addIssue({ code: "custom", message: error instanceof Error ? error.message : "unreadable" });
				return z.NEVER;
			}
		});
}

function read<T extends Statement>(schema: z.ZodType<T>, bytes: Uint8Array): T {
	const statement = decodeMessageOf("aggregation", schema, bytes, MAX_STATEMENT_BYTES);
	encoded.set(statement, bytes);
	hashes.set(statement, sha256(bytes));
	return statement;
}
