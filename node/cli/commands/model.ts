/** `althing model ...` */
import { type Command, Option } from "commander";
import { modelFormats } from "../../rpc/modelFormats.ts";
import type { ModelDetail, ModelFormat } from "../../rpc/services.ts";
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

	bind(
		model
			.command("show <job>")
			.description("show the card of a job's latest model, and how this organization's own does"),
		async ({ client, out }, [job = ""]) => {
			const answer = await (await client()).call("model.show", { job });
			out.result(answer, ({ card, personal }) =>
				personal === undefined ? card : `${card}\n${personalText(personal)}`,
			);
		},
	);

	bind<{ format: ModelFormat; output: string; force?: boolean; personal?: boolean }>(
		model
			.command("export <job>")
			.description("write a job's latest model to files")
			.addOption(new Option("--format <format>", "file format").choices(modelFormats).default("onnx"))
			.option("--output <directory>", "where to write", ".")
			.option("--personal", "this organization's own model instead of the common one")
			.option("--force", "replace files that exist"),
		async ({ client, out }, [job = ""], { format, output, force, personal }) => {
			const { exportModel } = await import("../modelExport.ts");
			const written = await exportModel(await client(), {
				job,
				format,
				directory: output,
				replace: force === true,
				personal: personal === true,
			});
			out.result({ files: written }, ({ files }) =>
				files.map((file) => `${file.path}  ${bytesText(file.sizeBytes)}  sha256 ${file.sha256}`).join("\n"),
			);
		},
	);

	bind<{ personal?: boolean }>(
		model
			.command("predict <job> <file>")
			.description(
				"apply a job's latest model to rows of numbers: JSON [[...], ...], or CSV without a header",
			)
			.option("--personal", "this organization's own model instead of the common one"),
		async ({ client, out }, [job = "", file = ""], { personal = false }) => {
			const { readRows } = await import("../rowsFile.ts");
			const rows = await readRows(file);
			const answer = await (await client()).call("model.predict", { job, rows, personal });
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

function personalText({ id, records, personal, common }: NonNullable<ModelDetail["personal"]>): string {
	if (personal === undefined) return `This organization's own model: ${id}, not evaluated yet.`;
	const figures = ({ accuracy, loss }: typeof personal) =>
		`accuracy ${figure(accuracy)}, loss ${figure(loss)}`;
	const beside = common === undefined ? "" : `; the common model: ${figures(common)}`;
	return `This organization's own model: ${id}. On its ${records} own held-out records: ${figures(personal)}${beside}.`;
}
