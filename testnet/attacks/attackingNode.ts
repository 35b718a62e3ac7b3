/**
 * FOR TESTNETS ALONE: makes the daemon that it is preloaded into (`node --import`) an attacker, which sends
 * something else than its update. Nothing in node/ knows of it, and no configuration turns it on: only the
 * testnet's launcher and tests start a daemon so, with the attack's name in the query of this module's address.
 *
 * A node knows no other's vector before it sends its own, so the attacks that need them are for the bench.
 */
import { randomBytes } from "../../crypto/random.ts";
import { float32FromBytes, float32ToBytes } from "../../src/learning/littleEndian.ts";
import { fromRing, toRing } from "../../src/privacy/fixedPoint.ts";
import { type Contribution, Contributor } from "../../src/training/contribution.ts";
import { attackOf, isNodeAttack, type NodeAttack, nodeAttacks } from "./nodeAttacks.ts";
import { vectorAttacks } from "./vectorAttacks.ts";

const name = new URL(import.meta.url).searchParams.get("attack") ?? "";
if (!isNodeAttack(name)) {
	throw new Error(`"${name}" is no attack of a node: ${Object.keys(nodeAttacks).join(", ")}`);
}
process.stderr.write(`THIS NODE ATTACKS ITS FEDERATION (${name}): it is part of a testnet.\n`);

const honestly = Contributor.prototype.contribute;
Contributor.prototype.contribute = async function attack(...args): Promise<Contribution> {
	const contribution = await honestly.apply(this, args);
	return poisoned(contribution, name);
};

function poisoned(contribution: Contribution, attack: NodeAttack): Contribution {
	const { vector, publicPart } = contribution;
	if (publicPart !== undefined)
		return { ...contribution, publicPart: float32ToBytes(changed(float32FromBytes(publicPart), attack)) };
	// The evaluation's figures and the weights are behind the update and stay: 64 coordinates are none of them.
	const update = vector.subarray(0, Math.max(0, vector.length - 64));
	update.set(toRing(Int32Array.from(changed(fromRing(update, 32), attack), clamped), 32));
	return contribution;
}

function changed(update: ArrayLike<number>, attack: NodeAttack): Float32Array {
	const own = Float64Array.from(update);
	const { vector } = attackOf(attack);
	if (vector === undefined) return Float32Array.from(own);
	const view = { honest: [own], own: [own], poisoned: [own], random, previous: new Float64Array(own.length) };
	return Float32Array.from(vectorAttacks[vector](view)[0]!);
}

function clamped(value: number): number {
	return Math.min(2 ** 31 - 1, Math.max(-(2 ** 31), Math.round(value)));
}

function random(): number {
	return new DataView(randomBytes(4).buffer).getUint32(0) / 2 ** 32;
}
