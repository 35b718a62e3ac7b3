/** Completion scripts, generated from the command tree so that they cannot fall behind it. */
import type { Command } from "commander";

interface Node {
	/** Command words after `althing`, joined by a space; empty for the root. */
	readonly words: string;
	readonly children: readonly { name: string; description: string }[];
	readonly options: readonly { name: string; description: string }[];
}

export function completionScript(program: Command, shell: "bash" | "zsh" | "fish"): string {
	const nodes = [...walk(program, "")];
	return { bash, zsh, fish }[shell](nodes);
}

function* walk(command: Command, words: string): Generator<Node> {
	const own = command.options.map((option) => ({
		name: option.long ?? option.flags,
		description: option.description,
	}));
	const children = command.commands.map((child) => ({
		name: child.name(),
		description: child.description(),
	}));
	yield { words, children, options: [...own, { name: "--help", description: "show help" }] };
	for (const child of command.commands)
		yield* walk(child, words === "" ? child.name() : `${words} ${child.name()}`);
}

/** The root's options are taken everywhere. */
function words(nodes: readonly Node[], node: Node): string[] {
	const root = nodes[0]?.options ?? [];
	const options = new Set([...node.options, ...root].map((option) => option.name));
	return [...node.children.map((child) => child.name), ...options];
}

const groups = (nodes: readonly Node[]) =>
	nodes.filter((node) => node.words !== "" && node.children.length > 0).map((node) => node.words);

function bash(nodes: readonly Node[]): string {
	const cases = nodes.map((node) => `\t\t"${node.words}") candidates="${words(nodes, node).join(" ")}" ;;`);
	return `# bash completion of althing
_althing() {
	local current="\${COMP_WORDS[COMP_CWORD]}" path="" word candidates index
	for ((index = 1; index < COMP_CWORD; index++)); do
		word="\${COMP_WORDS[index]}"
		[[ "$word" == -* ]] && continue
		case "$path" in
			""${groups(nodes)
				.map((group) => ` | "${group}"`)
				.join("")}) path="\${path:+$path }$word" ;;
		esac
	done
	case "$path" in
${cases.join("\n")}
		*) candidates="" ;;
	esac
	COMPREPLY=($(compgen -W "$candidates" -- "$current"))
}
complete -o default -F _althing althing
`;
}

function zsh(nodes: readonly Node[]): string {
	const cases = nodes.map((node) => `\t\t"${node.words}") candidates=(${words(nodes, node).join(" ")}) ;;`);
	return `#compdef althing
# zsh completion of althing
_althing() {
	local path_words="" word index
	local -a candidates
	for ((index = 2; index < CURRENT; index++)); do
		word="\${words[index]}"
		[[ "$word" == -* ]] && continue
		case "$path_words" in
			""${groups(nodes)
				.map((group) => `|"${group}"`)
				.join("")}) path_words="\${path_words:+$path_words }$word" ;;
		esac
	done
	case "$path_words" in
${cases.join("\n")}
		*) candidates=() ;;
	esac
	compadd -a candidates
	_files
}
compdef _althing althing
`;
}

function fish(nodes: readonly Node[]): string {
	const quote = (text: string) => `'${text.replaceAll("\\", "\\\\").replaceAll("'", "\\'")}'`;
	const topNames = nodes[0]?.children.map((child) => child.name).join(" ") ?? "";
	const lines = nodes.flatMap((node) => {
		const condition =
			node.words === ""
				? `not __fish_seen_subcommand_from ${topNames}`
				: node.words
						.split(" ")
						.map((word) => `__fish_seen_subcommand_from ${word}`)
						.join("; and ");
		const when = quote(condition);
		return [
			...node.children.map(
				(child) => `complete -c althing -f -n ${when} -a ${quote(child.name)} -d ${quote(child.description)}`,
			),
			...node.options.map((option) => {
				const everywhere = node.words === "" ? "" : ` -n ${when}`;
				return `complete -c althing${everywhere} -l ${quote(option.name.replace(/^--/, ""))} -d ${quote(option.description)}`;
			}),
		];
	});
	return `# fish completion of althing\n${lines.join("\n")}\n`;
}
