/** `althing model ...` */
import { type Command, Option } from "commander";
import { modelFormats } from "../../rpc/modelFormats.ts";
import type { ModelFormat } from "../../rpc/services.ts";
import type { Bind } from "../session.ts";
import { bytesText, figure, table } from "../text.ts";

export function registerModel(program: Command, bind: Bind): void {
	const model = program.command("model").description("trained models");

	bind(model.command("ls").description("list models"), async ({ client, out }) => {
		const answer = await (await client()).call("model.list", {});
		out.result(answer, ({ models }) =>
			table(
				["MODEL", "JOB", "NAME", "ROUND", "PARAMETERS", "ACCURACY", "EPSILON", "CREATED"],
				models.map((one) => [
					one.id,
					one.job,
					one.name,
					one.round,
					one.parameterCount,
					figure(one.accuracy),
					figure(one.epsilon),
					one.createdAt,
				]),
				"No models yet.",
				out.colors.bold,
			),
		);
	});

	bind<{ format: ModelFormat; output: string; force?: boolean }>(
		model
			.command("export <job>")
			.description("write a job's latest model to files")
			.addOption(new Option("--format <format>", "file format").choices(modelFormats).default("onnx"))
			.option("--output <directory>", "where to write", ".")
			.option("--force", "replace files that exist"),
		async ({ client, out }, [job = ""], { format, output, force }) => {
			const { exportModel } = await import("../modelExport.ts");
			const written = await exportModel(await client(), {
				job,
				format,
				directory: output,
				replace: force === true,
			});
			out.result({ files: written }, ({ files }) =>
				files.map((file) => `${file.path}  ${bytesText(file.sizeBytes)}  sha256 ${file.sha256}`).join("\n"),
			);
		},
	);

	bind(
		model
			.command("predict <job> <file>")
			.description(
				"apply a job's latest model to rows of numbers: JSON [[...], ...], or CSV without a header",
			),
		async ({ client, out }, [job = "", file = ""]) => {
			const { readRows } = await import("../rowsFile.ts");
			const rows = await readRows(file);
			const answer = await (await client()).call("model.predict", { job, rows });
			out.result(answer, ({ outputs, classes }) =>
				table(
					["ROW", ...(classes === undefined ? [] : ["CLASS"]), "OUTPUTS"],
					outputs.map((values, row) => [
						row + 1,
						...(classes === undefined ? [] : [classes[row]]),
						values.map(figure).join(" "),
					]),
					"No rows.",
					out.colors.bold,
				),
			);
		},
	);
}
