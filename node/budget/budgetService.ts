/** The privacy budgets as the admin RPC shows and changes them. */
import { AlthingError } from "../../crypto/error.ts";
import type { Budget, BudgetLimits, BudgetService, CallContext } from "../rpc/services.ts";
import type { Budgets } from "./budgets.ts";

export class BudgetOffice implements BudgetService {
	readonly #budgets: Budgets;

	constructor(budgets: Budgets) {
		this.#budgets = budgets;
	}

	async show(params: { dataset?: string | undefined }): Promise<Budget[]> {
		const accounts = this.#budgets.ledger
			.accounts()
			.filter(({ id, kind }) => (params.dataset === undefined ? kind === "dataset" : id === params.dataset));
		if (params.dataset !== undefined && accounts.length === 0) throw noBudget(params.dataset);
		return accounts.map(({ id }) => this.#view(id));
	}

	async set(params: BudgetLimits, context: CallContext): Promise<Budget> {
		const { dataset, epsilon, delta } = params;
		if (!this.#budgets.has(dataset)) throw noBudget(dataset);
		await this.#budgets.change(
			{ type: "limits", account: dataset, epsilonLimit: epsilon, deltaLimit: delta },
			personOf(context),
		);
		return this.#view(dataset);
	}

	#view(id: string): Budget {
		const { ledger } = this.#budgets;
		const account = ledger.account(id);
		if (account === undefined) throw noBudget(id);
		return {
			dataset: id,
			epsilon: account.limits.epsilon,
			delta: account.limits.delta,
			epsilonSpent: ledger.spent(id).epsilon,
			epsilonRemaining: ledger.remaining(id).epsilon,
			charges: ledger.history(id).map(({ at, jobId, round, event, partition, epsilonAfter }) => ({
				at,
				job: jobId,
				round,
				mechanism: `${event.kind} (${partition})`,
				epsilonAfter: epsilonAfter ?? 0,
			})),
		};
	}
}

function personOf({ caller }: CallContext): string {
	return `${caller.tokenName} (${caller.tokenId})`;
}

function noBudget(dataset: string): AlthingError {
	return new AlthingError("budget.not_found", `there is no data set named ${dataset} with a budget`, {
		dataset,
	});
}
