/**
 * What a worker keeps of the jobs it has taken up, within a bound: the least recently used are
 * closed first, and opened anew when their turn comes. So a hundred jobs that take turns cost no
 * more memory than the few that fit; the one at work is kept whatever it takes.
 */

/** Bound of one kind of jobs (training, vertical) in one worker. */
export const WARM_BYTES = 128 * 2 ** 20;

export interface WarmSite {
	/** What it holds in memory, roughly. */
	readonly bytes: number;
	/** Gives everything back; called once, and never while the site is in use. */
	close(): Promise<void>;
}

export class WarmSites<Site extends WarmSite> {
	readonly #maximumBytes: number;
	/** From the least to the most recently used. */
	readonly #sites = new Map<string, Promise<Site>>();
	readonly #inUse = new Map<string, number>();
	/** To be closed when their use ends. */
	readonly #forgotten = new Map<string, Promise<Site>>();

	constructor(maximumBytes: number) {
		this.#maximumBytes = maximumBytes;
	}

	get size(): number {
		return this.#sites.size;
	}

	/** Runs `work` on the job's site, opened if it is not warm. A site that failed to open is not remembered. */
	async use<R>(jobId: string, open: () => Promise<Site>, work: (site: Site) => Promise<R>): Promise<R> {
		const site = this.#sites.get(jobId) ?? open();
		this.#sites.delete(jobId);
		this.#sites.set(jobId, site);
		this.#inUse.set(jobId, (this.#inUse.get(jobId) ?? 0) + 1);
		try {
			const opened = await site;
			await this.#makeRoom();
			return await work(opened);
		} catch (error) {
			await site.catch(() => {
				if (this.#sites.get(jobId) === site) this.#sites.delete(jobId);
			});
			throw error;
		} finally {
			const left = (this.#inUse.get(jobId) ?? 1) - 1;
			if (left > 0) this.#inUse.set(jobId, left);
			else {
				this.#inUse.delete(jobId);
				await this.#closeForgotten(jobId);
			}
		}
	}

	/** The job has ended: its site is closed now, or when its present use ends. */
	async forget(jobId: string): Promise<void> {
		const site = this.#sites.get(jobId);
		if (site === undefined) return;
		this.#sites.delete(jobId);
		this.#forgotten.set(jobId, site);
		if (!this.#inUse.has(jobId)) await this.#closeForgotten(jobId);
	}

	async #closeForgotten(jobId: string): Promise<void> {
		const site = this.#forgotten.get(jobId);
		this.#forgotten.delete(jobId);
		await (await site?.catch(() => undefined))?.close();
	}

	async #makeRoom(): Promise<void> {
		const idle: { readonly jobId: string; readonly site: Site }[] = [];
		let held = 0;
		for (const [jobId, promised] of [...this.#sites]) {
			const site = await promised.catch(() => undefined);
			if (site === undefined) continue;
			held += site.bytes;
			if (!this.#inUse.has(jobId)) idle.push({ jobId, site });
		}
		for (const { jobId, site } of idle) {
			if (held <= this.#maximumBytes) return;
			held -= site.bytes;
			this.#sites.delete(jobId);
			await site.close();
		}
	}
}
