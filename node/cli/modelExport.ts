/** Fetches a model's files, checks their hashes and writes them whole or not at all. */
import { createHash } from "node:crypto";
import { access, mkdir, rename, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { AlthingError } from "../../crypto/error.ts";
import type { RpcClient } from "../rpc/client.ts";
import type { ModelFormat } from "../rpc/services.ts";

export interface WrittenFile {
	readonly path: string;
	readonly sizeBytes: number;
	readonly sha256: string;
}

/** Throws `model.file_exists` unless `replace`, `model.wrong_hash`, and what the node answers. */
export async function exportModel(
	client: RpcClient,
	request: { job: string; format: ModelFormat; directory: string; replace: boolean; personal: boolean },
): Promise<WrittenFile[]> {
	const { job, format, directory, replace, personal } = request;
	const { files } = await client.call("model.export", { job, format, personal });
	const targets = files.map((file) => ({ ...file, target: join(directory, safeName(file.name)) }));
	for (const { target } of targets) {
		if (!replace && (await exists(target))) {
			throw new AlthingError("model.file_exists", `${target} exists. Choose another --output, or --force.`, {
				path: target,
			});
		}
	}
	await mkdir(directory, { recursive: true });
	const written: string[] = [];
	try {
		for (const { target, path, sha256, name } of targets) {
			const bytes = await client.download(path);
			if (createHash("sha256").update(bytes).digest("hex") !== sha256) {
				throw new AlthingError(
					"model.wrong_hash",
					`${name} arrived damaged, or a newer model took its place. Try again.`,
					{
						name,
					},
				);
			}
			await writeFile(`${target}.part`, bytes);
			written.push(`${target}.part`);
		}
		for (const { target } of targets) await rename(`${target}.part`, target);
	} catch (error) {
		for (const path of written) await rm(path, { force: true });
		throw error;
	}
	return targets.map(({ target, sizeBytes, sha256 }) => ({ path: target, sizeBytes, sha256 }));
}

/** A name from elsewhere must not lead out of the directory. */
function safeName(name: string): string {
	if (/^[A-Za-z0-9_][A-Za-z0-9._-]{0,127}$/.test(name)) return name;
	throw new AlthingError(
		"model.bad_file_name",
		`The node named a file ${JSON.stringify(name)}, which is refused.`,
		{ name },
	);
}

async function exists(path: string): Promise<boolean> {
	return access(path).then(
		() => true,
		() => false,
	);
}
