#!/usr/bin/env node
const major = Number(process.versions.node.split(".")[0]);
if (major < 24) {
	process.stderr.write(
		`The testnet needs Node.js 24 or newer; this is ${process.versions.node}. Start it with npm run testnet in a checkout (npm install brings Node 24), or install Node 24.\n`,
	);
	process.exit(1);
}
const { launch } = await import("../testnet/launch.ts");
process.exitCode = await launch(process.argv.slice(2));
