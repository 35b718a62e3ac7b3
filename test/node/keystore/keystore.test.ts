import { EventEmitter } from "node:events";
import { chmod, mkdtemp, readdir, readFile, rm, stat, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { encodeCanonical } from "../../../crypto/encoding.ts";
import { signingKeyFromSeed } from "../../../crypto/identity.ts";
import {
	WEAK_PASSPHRASE_COST_FOR_TESTS as cost,
	sealWithPassphrase,
} from "../../../crypto/passphraseSealing.ts";
import { changePassphrase, createKeystore, openKeystore } from "../../../node/keystore/keystore.ts";
import { readPassphrase } from "../../../node/keystore/passphrase.ts";

let parent: string;
let directory: string;
const passphrase = "correct horse battery staple";

beforeEach(async () => {
	parent = await mkdtemp(join(tmpdir(), "althing-keystore-"));
	directory = join(parent, "data");
});
afterEach(() => rm(parent, { recursive: true }));

describe("keystore", () => {
	test("gives back what it was made with, closed to others", async () => {
		const made = await createKeystore({ directory, passphrase, cost });
		expect(made.identitySeed.length).toBe(32);
		expect(made.storeKey).not.toEqual(made.identitySeed);
		expect(made.peer).toBe(signingKeyFromSeed(made.identitySeed).peer);
		expect(await openKeystore({ directory, passphrase })).toEqual(made);
		expect((await stat(directory)).mode & 0o777).toBe(0o700);
		expect((await stat(join(directory, "keystore"))).mode & 0o777).toBe(0o600);
		const bytes = await readFile(join(directory, "keystore"));
		expect(bytes.includes(Buffer.from(made.identitySeed))).toBe(false);
		expect(bytes.includes(Buffer.from(made.storeKey))).toBe(false);
	});

	test("the default cost is the daemon's, not the tests'", async () => {
		await createKeystore({ directory, passphrase });
		const file = await readFile(join(directory, "keystore"));
		expect(file.readUInt32BE(9)).toBe(64 * 1024);
		expect(file.readUInt32BE(13)).toBe(3);
	});

	test("a wrong or empty passphrase opens nothing", async () => {
		await createKeystore({ directory, passphrase, cost });
		await expect(openKeystore({ directory, passphrase: "wrong" })).rejects.toMatchObject({
			code: "keystore.wrong_passphrase",
		});
		await expect(openKeystore({ directory, passphrase: "" })).rejects.toMatchObject({
			code: "keystore.empty_passphrase",
		});
	});

	test("an existing keystore is never replaced", async () => {
		const made = await createKeystore({ directory, passphrase, cost });
		await expect(createKeystore({ directory, passphrase: "other", cost })).rejects.toMatchObject({
			code: "keystore.exists",
		});
		expect(await openKeystore({ directory, passphrase })).toEqual(made);
	});

	test("changing the passphrase keeps the secrets and closes the old way in", async () => {
		const made = await createKeystore({ directory, passphrase, cost });
		await expect(
			changePassphrase({ directory, passphrase: "wrong", newPassphrase: "new", cost }),
		).rejects.toMatchObject({ code: "keystore.wrong_passphrase" });
		await changePassphrase({ directory, passphrase, newPassphrase: "new", cost });
		expect(await openKeystore({ directory, passphrase: "new" })).toEqual(made);
		await expect(openKeystore({ directory, passphrase })).rejects.toMatchObject({
			code: "keystore.wrong_passphrase",
		});
		expect(await readdir(directory)).toEqual(["keystore"]);
	});

	test.each([
		["file", "keystore", 0o640],
		["directory", ".", 0o755],
	])("a %s open to others is refused with the command that mends it", async (_what, name, mode) => {
		await createKeystore({ directory, passphrase, cost });
		await chmod(join(directory, name), mode);
		await expect(openKeystore({ directory, passphrase })).rejects.toMatchObject({
			code: "keystore.permissions",
			message: expect.stringMatching(/chmod 0[67]00 /),
		});
	});

	test("missing, damaged, foreign", async () => {
		await expect(openKeystore({ directory, passphrase })).rejects.toMatchObject({ code: "keystore.missing" });
		await createKeystore({ directory, passphrase, cost });
		const file = join(directory, "keystore");
		const bytes = await readFile(file);
		bytes[60] = bytes[60]! ^ 1;
		await writeFile(file, bytes);
		await expect(openKeystore({ directory, passphrase })).rejects.toMatchObject({ code: "keystore.corrupt" });
		await writeFile(file, await sealWithPassphrase(passphrase, encodeCanonical({ version: 2 }), cost));
		await expect(openKeystore({ directory, passphrase })).rejects.toMatchObject({ code: "keystore.corrupt" });
	});
});

/** A terminal whose keys are typed by the test, and which notes what was shown. */
function fakeTerminal(...lines: string[]) {
	const modes: boolean[] = [];
	let shown = "";
	const input = Object.assign(new EventEmitter(), {
		isTTY: true as const,
		setRawMode(mode: boolean) {
			modes.push(mode);
			return input;
		},
		resume() {
			const line = lines.shift();
			if (line !== undefined) queueMicrotask(() => input.emit("data", Buffer.from(line)));
			return input;
		},
		pause: () => input,
	});
	const terminal = { input: input as never, output: { write: (text: string) => (shown += text) } };
	return { terminal, modes, shown: () => shown };
}

describe("passphrase", () => {
	test("from a file, without its line end", async () => {
		const file = join(parent, "passphrase");
		await writeFile(file, " with spaces \n", { mode: 0o600 });
		expect(await readPassphrase({ file, environment: {} })).toBe(" with spaces ");
	});

	test("a file open to others, a missing one, an empty one", async () => {
		const file = join(parent, "passphrase");
		await writeFile(file, "x\n");
		await chmod(file, 0o644);
		await expect(readPassphrase({ file, environment: {} })).rejects.toMatchObject({
			code: "keystore.permissions",
		});
		await writeFile(file, "\n");
		await chmod(file, 0o600);
		await expect(readPassphrase({ file, environment: {} })).rejects.toMatchObject({
			code: "keystore.empty_passphrase",
		});
		await expect(readPassphrase({ file: join(parent, "none"), environment: {} })).rejects.toMatchObject({
			code: "keystore.passphrase_file",
		});
	});

	test("a systemd credential may show group permissions, its neighbours may not", async () => {
		const file = join(parent, "passphrase");
		await writeFile(file, "x\n");
		await chmod(file, 0o440);
		expect(await readPassphrase({ file, environment: { CREDENTIALS_DIRECTORY: parent } })).toBe("x");
		await expect(
			readPassphrase({ file, environment: { CREDENTIALS_DIRECTORY: join(parent, "other") } }),
		).rejects.toMatchObject({ code: "keystore.permissions" });
	});

	test("from the environment, which then no longer holds it", async () => {
		const environment = { ALTHING_PASSPHRASE: "hidden" };
		expect(await readPassphrase({ environment })).toBe("hidden");
		expect(environment).toEqual({});
	});

	test("the environment is cleared even when a file is used", async () => {
		const environment = { ALTHING_PASSPHRASE: "hidden" };
		const file = join(parent, "passphrase");
		await writeFile(file, "from file", { mode: 0o600 });
		expect(await readPassphrase({ file, environment })).toBe("from file");
		expect(environment).toEqual({});
	});

	test("asked for without echo, with the erase key", async () => {
		const { terminal, modes, shown } = fakeTerminal("wröng\u007f\u007f\u007f\u007fight\r");
		expect(await readPassphrase({ environment: {}, terminal })).toBe("wight");
		expect(modes).toEqual([true, false]);
		expect(shown()).toBe("Passphrase: \n");
	});

	test("asked twice when new; differing answers and Ctrl-C are refused", async () => {
		expect(
			await readPassphrase({ environment: {}, confirm: true, terminal: fakeTerminal("a\n", "a\n").terminal }),
		).toBe("a");
		await expect(
			readPassphrase({ environment: {}, confirm: true, terminal: fakeTerminal("a\n", "b\n").terminal }),
		).rejects.toMatchObject({ code: "keystore.passphrase_mismatch" });
		const { terminal, modes } = fakeTerminal("abc\u0003");
		await expect(readPassphrase({ environment: {}, terminal })).rejects.toMatchObject({
			code: "keystore.cancelled",
		});
		expect(modes.at(-1)).toBe(false);
	});

	test("without any source", async () => {
		const terminal = { input: { isTTY: false } as never, output: { write: () => true } };
		await expect(readPassphrase({ environment: {}, terminal })).rejects.toMatchObject({
			code: "keystore.no_passphrase",
		});
	});
});
