import { describe, expect, it } from "vitest";
import { type WarmSite, WarmSites } from "../../../node/jobs/warmSites.ts";

class Sites {
	readonly opened: string[] = [];
	readonly closed: string[] = [];
	readonly warm = new WarmSites<WarmSite & { readonly name: string }>(100);

	open = (name: string, bytes: number) => async () => {
		this.opened.push(name);
		return {
			name,
			bytes,
			close: async () => {
				this.closed.push(name);
			},
		};
	};

	use(name: string, bytes = 40, work: () => Promise<void> = async () => {}): Promise<string> {
		return this.warm.use(name, this.open(name, bytes), async (site) => {
			await work();
			return site.name;
		});
	}
}

describe("warm sites", () => {
	it("are opened once while they fit, and the least recently used is closed when they do not", async () => {
		const sites = new Sites();
		for (const name of ["a", "b", "a", "c", "a", "b"]) expect(await sites.use(name)).toBe(name);
		expect(sites.opened).toEqual(["a", "b", "c", "b"]);
		expect(sites.closed).toEqual(["b", "c"]);
		expect(sites.warm.size).toBe(2);
	});

	it("keep the one at work, however large it is", async () => {
		const sites = new Sites();
		await sites.use("a");
		await sites.use("huge", 1000, async () => expect(sites.closed).toEqual(["a"]));
		expect(sites.closed).toEqual(["a"]);
		await sites.use("b");
		expect(sites.closed).toEqual(["a", "huge"]);
	});

	it("are closed when forgotten, but not under their work", async () => {
		const sites = new Sites();
		const gate = Promise.withResolvers<void>();
		const working = sites.use("a", 40, () => gate.promise);
		await sites.use("b");
		await sites.warm.forget("a");
		await sites.warm.forget("b");
		expect(sites.closed).toEqual(["b"]);
		gate.resolve();
		await working;
		expect(sites.closed).toEqual(["b", "a"]);
		expect(sites.warm.size).toBe(0);
		await sites.warm.forget("nobody");
	});

	it("that fail to open are not remembered, and work that fails leaves its site warm", async () => {
		const sites = new Sites();
		const broken = async () => Promise.reject(new Error("unreadable"));
		await expect(sites.warm.use("a", broken, async () => 1)).rejects.toThrow("unreadable");
		expect(await sites.use("a")).toBe("a");
		await expect(sites.use("a", 40, () => Promise.reject(new Error("diverged")))).rejects.toThrow("diverged");
		expect(await sites.use("a")).toBe("a");
		expect(sites.opened).toEqual(["a"]);
	});
});
