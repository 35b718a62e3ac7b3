/** Credentials of a source of records: a file that nobody but the node's user may read, never an argument. */
import { readFile } from "node:fs/promises";
import { parse } from "yaml";
import { z } from "zod";
import { AlthingError } from "../../../crypto/error.ts";
import { refuseOpenToOthers } from "../../keystore/permissions.ts";

/** Of a Postgres role. */
export const databaseCredentialsSchema = z.strictObject({
	user: z.string().min(1),
	password: z.string(),
	/** PEM file with the certificate authority of the server; the system's authorities where it is left out. */
	certificateAuthority: z.string().min(1).optional(),
});

/** Of an S3 bucket. */
export const bucketCredentialsSchema = z.strictObject({
	keyId: z.string().min(1),
	secret: z.string().min(1),
	sessionToken: z.string().min(1).optional(),
	region: z.string().min(1).optional(),
	/** Host of a store that is not Amazon's. */
	endpoint: z.string().min(1).optional(),
});

/**
 * Reads a YAML file of credentials.
 * @throws AlthingError `keystore.permissions` for a file that others may read, `data.credentials` for one that
 *   is missing or holds something else; no error quotes what is in it
 */
export async function readCredentials<Schema extends z.ZodType>(
	path: string,
	schema: Schema,
): Promise<z.output<Schema>> {
	const refuse = (why: string): AlthingError =>
		new AlthingError("data.credentials", `The credentials file ${path} ${why}.`, { path });
	let text: string;
	try {
		await refuseOpenToOthers(path);
		text = await readFile(path, "utf8");
	} catch (error) {
		if (error instanceof AlthingError) throw error;
		throw refuse(`cannot be read (${(error as NodeJS.ErrnoException).code ?? "unknown reason"})`);
	}
	let content: unknown;
	try {
		content = parse(text);
	} catch {
		throw refuse("is not valid YAML");
	}
	const parsed = schema.safeParse(content);
	if (parsed.success) return parsed.data;
	const issue = parsed.error.issues[0];
	const where = issue?.path.join(".") || (issue?.code === "unrecognized_keys" ? "an unknown key" : "its top");
	throw refuse(`is not valid at ${where}; docs/data.md has its keys`);
}
