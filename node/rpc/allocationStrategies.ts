/** How a plan may divide a budget, apart from the schemas so that the command line starts without them. */
export const allocationStrategies = [
	"uniform",
	"increasing",
	"decreasing",
	"geometric",
	"sensitivity_proportional",
	"optimal",
] as const;
