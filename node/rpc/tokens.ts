/**
 * Bearer tokens: who may call the admin RPC, in which role, until when.
 *
 * A token is 256 random bits. The store's file holds its SHA-256 alone, so reading the
 * file gives no access; a plain hash is enough because a random token cannot be guessed.
 * The one token in clear is the data directory's own `admin.token` (0600), made at first
 * start for the CLI: whoever can read it owns the node anyway.
 */
import { open, readFile, rename } from "node:fs/promises";
import { join } from "node:path";
import { z } from "zod";
import { equalBytes, fromHex, toHex } from "../../crypto/encoding.ts";
import { AlthingError } from "../../crypto/error.ts";
import { sha256 } from "../../crypto/hash.ts";
import { randomBytes } from "../../crypto/random.ts";
import type { Clock } from "./clock.ts";
import { ADMIN_TOKEN_FILE } from "./paths.ts";
import { tokenView } from "./schemas.ts";
import type { Caller, Role, TokenView } from "./services.ts";

export const TOKENS_FILE = "rpc-tokens.json";
/** Name of the record behind `admin.token`. */
const ADMIN_TOKEN_NAME = "data-directory";
const TOKEN_PREFIX = "althing_";
/** Every request is compared with every record; this keeps that well under a millisecond. */
const MAX_TOKENS = 500;
const DAY_MS = 86_400_000;

const tokenFile = z.strictObject({
	version: z.literal(1),
	tokens: z.array(tokenView.extend({ sha256: z.string().regex(/^[0-9a-f]{64}$/) }).strict()),
});
type TokenRecord = z.infer<typeof tokenFile>["tokens"][number];

export interface TokenStore {
	/** The caller behind a token's text, or why it is refused. Constant-time in the token. */
	authenticate(token: string): Caller | "unknown" | "expired" | "revoked";
	/** False once the token behind `tokenId` has expired or was revoked. */
	isLive(tokenId: string): boolean;
	/** @returns the token's text, never to be seen again. Throws `token.exists`, `token.too_many`. */
	create(request: {
		name: string;
		role: Role;
		expiresInDays: number;
	}): Promise<{ token: string; view: TokenView }>;
	list(): TokenView[];
	/** Throws `token.not_found`. Revoking twice keeps the first time. */
	revoke(id: string): Promise<TokenView>;
}

/**
 * Opens the token store of a data directory, making it and `admin.token` where they are missing.
 * @throws AlthingError `token.corrupt_store` when the file is not one this version wrote
 */
export async function openTokenStore(options: { directory: string; clock: Clock }): Promise<TokenStore> {
	const { directory, clock } = options;
	const path = join(directory, TOKENS_FILE);
	let records = await readRecords(path);
	let writing: Promise<unknown> = Promise.resolve();

	/** One change after the other; memory follows the disk, so a failed write grants and revokes nothing. */
	function change<T>(
		step: (current: readonly TokenRecord[]) => { next: TokenRecord[]; result: T },
	): Promise<T> {
		const done = writing.then(async () => {
			const { next, result } = step(records);
			await writeFile600(path, `${JSON.stringify({ version: 1, tokens: next }, null, "\t")}\n`);
			records = next;
			return result;
		});
		writing = done.catch(() => undefined);
		return done;
	}

	function find(token: string): TokenRecord | undefined {
		const presented = sha256(new TextEncoder().encode(token));
		let found: TokenRecord | undefined;
		// No early exit: the time must not tell which record matched.
		for (const record of records) if (equalBytes(fromHex(record.sha256), presented)) found = record;
		return found;
	}

	function standing(record: TokenRecord): "live" | "expired" | "revoked" {
		if (record.revokedAt !== null) return "revoked";
		return record.expiresAt !== null && Date.parse(record.expiresAt) <= clock.nowMs() ? "expired" : "live";
	}

	function issue(name: string, role: Role, lifetimeDays: number | null) {
		const token = TOKEN_PREFIX + Buffer.from(randomBytes(32)).toString("base64url");
		const nowMs = clock.nowMs();
		return change((current) => {
			if (current.some((record) => record.name === name && standing(record) === "live")) {
				throw new AlthingError(
					"token.exists",
					`A live token is already named "${name}". Choose another name or revoke that one.`,
					{ name },
				);
			}
			if (current.length >= MAX_TOKENS) {
				throw new AlthingError(
					"token.too_many",
					`The store holds ${MAX_TOKENS} tokens, its limit. Remove ended ones from ${TOKENS_FILE} while the node is stopped.`,
					{ limit: MAX_TOKENS },
				);
			}
			const record: TokenRecord = {
				id: toHex(randomBytes(6)),
				name,
				role,
				createdAt: new Date(nowMs).toISOString(),
				expiresAt: lifetimeDays === null ? null : new Date(nowMs + lifetimeDays * DAY_MS).toISOString(),
				revokedAt: null,
				sha256: toHex(sha256(new TextEncoder().encode(token))),
			};
			return { next: [...current, record], result: { token, view: viewOf(record) } };
		});
	}

	function revoke(id: string): Promise<TokenView> {
		return change((current) => {
			const record = current.find((candidate) => candidate.id === id);
			if (record === undefined) {
				throw new AlthingError("token.not_found", `No token has the id "${id}". See \`althing token ls\`.`, {
					id,
				});
			}
			const revokedAt = record.revokedAt ?? new Date(clock.nowMs()).toISOString();
			const revoked = { ...record, revokedAt };
			const next = current.map((candidate) => (candidate === record ? revoked : candidate));
			return { next, result: viewOf(revoked) };
		});
	}

	async function ensureAdminToken(): Promise<void> {
		const adminPath = join(directory, ADMIN_TOKEN_FILE);
		const held = (await readIfPresent(adminPath))?.trim();
		const record = held === undefined ? undefined : find(held);
		if (record !== undefined && record.role === "admin" && standing(record) === "live") return;
		// The file was lost or its token revoked: what it once granted ends with it.
		for (const old of records) {
			if (old.name === ADMIN_TOKEN_NAME && standing(old) === "live") await revoke(old.id);
		}
		const { token } = await issue(ADMIN_TOKEN_NAME, "admin", null);
		await writeFile600(adminPath, `${token}\n`);
	}
	await ensureAdminToken();

	return {
		authenticate(token) {
			const record = find(token);
			if (record === undefined) return "unknown";
			const state = standing(record);
			if (state !== "live") return state;
			return { tokenId: record.id, tokenName: record.name, role: record.role };
		},
		isLive: (tokenId) => records.some((record) => record.id === tokenId && standing(record) === "live"),
		create: ({ name, role, expiresInDays }) => issue(name, role, expiresInDays),
		list: () => records.map(viewOf),
		revoke,
	};
}

function viewOf(record: TokenRecord): TokenView {
	const { sha256: _, ...view } = record;
	return view;
}

async function readIfPresent(path: string): Promise<string | undefined> {
	try {
		return await readFile(path, "utf8");
	} catch (error) {
		if ((error as NodeJS.ErrnoException).code === "ENOENT") return undefined;
		throw error;
	}
}

async function readRecords(path: string): Promise<TokenRecord[]> {
	const text = await readIfPresent(path);
	if (text === undefined) return [];
	try {
		return tokenFile.parse(JSON.parse(text)).tokens;
	} catch (cause) {
		throw new AlthingError(
			"token.corrupt_store",
			`${path} is not a token store this version can read. Restore it from a backup, or remove it to start over with a new admin token.`,
			{ path },
			{ cause },
		);
	}
}

/** Whole or not at all, and never readable by others, not even for a moment. */
async function writeFile600(path: string, text: string): Promise<void> {
	const temporary = `${path}.new`;
	const file = await open(temporary, "w", 0o600);
	try {
		await file.chmod(0o600);
		await file.writeFile(text);
		await file.sync();
	} finally {
		await file.close();
	}
	await rename(temporary, path);
}
