/** `althing completion bash|zsh|fish` */
import { Argument, type Command } from "commander";
import type { Bind } from "../session.ts";

const shells = ["bash", "zsh", "fish"] as const;

export function registerCompletion(program: Command, bind: Bind): void {
	bind(
		program
			.command("completion")
			.description("print a shell's completion script")
			.addArgument(new Argument("<shell>", "the shell").choices(shells))
			.addHelpText("after", '\nFor bash: eval "$(althing completion bash)", in ~/.bashrc to keep it.'),
		async ({ out }, [shell]) => {
			const { completionScript } = await import("../completionScript.ts");
			const script = completionScript(program, shell as (typeof shells)[number]);
			out.result({ shell, script }, (value) => value.script.trimEnd());
		},
	);
}
