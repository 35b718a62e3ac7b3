#!/usr/bin/env node
const major = Number(process.versions.node.split(".")[0]);
if (major < 24) {
	process.stderr.write(
		`althing needs Node.js 24 or newer; this is ${process.versions.node}. Run it with npx althing in a checkout (npm install brings Node 24), or install Node 24.\n`,
	);
	process.exit(1);
}
const { main } = await import("../node/cli/main.ts");
process.exitCode = await main(process.argv.slice(2));
