/**
 * FOR TESTNETS ALONE: makes the daemon that it is preloaded into (`node --import`) an attacker, which sends
 * something else than its update. Nothing in node/ knows of it, and no configuration turns it on: only the
 * testnet's launcher and tests start a daemon so, with the attack's name in the query of this module's address.
 *
 * A node knows no other's vector before it sends its own. Attacks that are made from the honest vectors are
 * made from the attackers' own ones instead, which they tell each other (collusion.ts).
 */
import { randomBytes } from "../../crypto/random.ts";
import { float32FromBytes, float32ToBytes } from "../../src/learning/littleEndian.ts";
import { fromRing, toRing } from "../../src/privacy/fixedPoint.ts";
import { norm, type Vectors } from "../../src/robustness/vectors.ts";
import { type Contribution, Contributor } from "../../src/training/contribution.ts";
import { pooledUpdates } from "./collusion.ts";
import { attackOf, isNodeAttack, nodeAttacks, type Ring } from "./nodeAttacks.ts";
import { type AttackName, vectorAttacks } from "./vectorAttacks.ts";

const { searchParams } = new URL(import.meta.url);
const name = searchParams.get("attack") ?? "";
if (!isNodeAttack(name)) {
	throw new Error(`"${name}" is no attack of a node: ${Object.keys(nodeAttacks).join(", ")}`);
}
const { vector: attack } = attackOf(name);
const ring = JSON.parse(searchParams.get("ring") ?? "null") as Ring | null;
process.stderr.write(`THIS NODE ATTACKS ITS FEDERATION (${name}): it is part of a testnet.\n`);

const memory = {};
/** What the round before started from: a free rider's idea of an update is how the model moved since. */
let earlier: Float32Array | undefined;

const honestly = Contributor.prototype.contribute;
Contributor.prototype.contribute = async function attacking(...args): Promise<Contribution> {
	const contribution = await honestly.apply(this, args);
	if (attack === undefined) return contribution;
	if (attack === "noise") return noise(contribution);
	const [round, { parameters }] = args;
	const moved = earlier?.map((value, i) => value - parameters[i]!);
	earlier = parameters.slice();
	return poisoned(contribution, attack, { round, moved });
};

interface Circumstances {
	readonly round: number;
	readonly moved: Float32Array | undefined;
}

function noise(contribution: Contribution): Contribution {
	const { vector, publicPart } = contribution;
	if (publicPart === undefined) {
		const shift = 32 - modulusBitsOf(vector);
		return { ...contribution, vector: randomWords(vector.length).map((word) => word >>> shift) };
	}
	const own = float32FromBytes(publicPart);
	const largest = 100 * norm(Float64Array.from(own));
	const values = Float32Array.from(randomWords(own.length), (word) => largest * (word / 2 ** 31 - 1));
	return { ...contribution, publicPart: float32ToBytes(values) };
}

async function poisoned(
	contribution: Contribution,
	attack: AttackName,
	circumstances: Circumstances,
): Promise<Contribution> {
	const { vector, publicPart } = contribution;
	if (publicPart !== undefined) {
		const values = await changed(float32FromBytes(publicPart), attack, circumstances);
		return { ...contribution, publicPart: float32ToBytes(values) };
	}
	// The evaluation's figures and the weights are behind the update and stay: 64 coordinates are none of them.
	const update = vector.subarray(0, Math.max(0, vector.length - 64));
	const bits = modulusBitsOf(update);
	const integers = await changed(fromRing(update, bits), attack, circumstances);
	update.set(toRing(Int32Array.from(integers, clamped), bits));
	return contribution;
}

async function changed(
	honest: ArrayLike<number>,
	attack: AttackName,
	{ round, moved }: Circumstances,
): Promise<Float32Array> {
	const own = Float64Array.from(honest);
	const { attackers, participants } = ring ?? { attackers: 1, participants: 1 };
	const pooled: Vectors =
		ring === null || attackers === 1 ? [own] : await pooledUpdates(ring, round, Float32Array.from(own));
	const [sent] = vectorAttacks[attack]({
		honest: pooled,
		own: [own],
		poisoned: attack === "sybil" ? pooled : [own],
		attackers: 1,
		// All of them together replace the model once.
		participants: participants / attackers,
		memory,
		random: () => randomWords(1)[0]! / 2 ** 32,
		previous: asLongAs(own, moved),
	});
	return Float32Array.from(sent!);
}

/** The model's movement as an update: its direction, at the length of an honest one; zeros in the first round. */
function asLongAs(own: Float64Array, moved: Float32Array | undefined): Float64Array {
	const direction = Float64Array.from(own, (_, i) => moved?.[i] ?? 0);
	const length = norm(direction);
	return length === 0 ? direction : direction.map((value) => (value * norm(own)) / length);
}

/** Values of both signs reach to the end of their ring. */
function modulusBitsOf(update: Uint32Array): number {
	return 32 - Math.clz32(update.reduce((most, value) => Math.max(most, value), 1));
}

function clamped(value: number): number {
	return Math.min(2 ** 31 - 1, Math.max(-(2 ** 31), Math.round(value)));
}

function randomWords(count: number): Uint32Array {
	return new Uint32Array(randomBytes(4 * count).buffer);
}
