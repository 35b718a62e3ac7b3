/** The job service of a node that may not be a member yet: then every call says so. */
import { AlthingError } from "../../crypto/error.ts";
import type { JobDetail, JobService, JobSummary, JsonObject } from "../rpc/services.ts";
import type { Jobs } from "./jobs.ts";

export class JobsUnlessMember implements JobService {
	readonly #current: () => Jobs | undefined;

	constructor(current: () => Jobs | undefined) {
		this.#current = current;
	}

	async submit(params: { spec: JsonObject }): Promise<JobSummary> {
		return this.#jobs().submit(params);
	}

	async list(): Promise<JobSummary[]> {
		return this.#jobs().list();
	}

	async show(params: { job: string }): Promise<JobDetail> {
		return this.#jobs().show(params);
	}

	async approve(params: { job: string }): Promise<JobSummary> {
		return this.#jobs().approve(params);
	}

	async reject(params: { job: string; reason?: string | undefined }): Promise<JobSummary> {
		return this.#jobs().reject(params);
	}

	async abort(params: { job: string; reason?: string | undefined }): Promise<JobSummary> {
		return this.#jobs().abort(params);
	}

	async resume(params: { job: string }): Promise<JobSummary> {
		return this.#jobs().resume(params);
	}

	#jobs(): Jobs {
		const jobs = this.#current();
		if (jobs === undefined) {
			throw new AlthingError(
				"federation.not_member",
				"jobs run inside a federation, and this node is not a member of one; `althing federation show` tells where it stands",
			);
		}
		return jobs;
	}
}
