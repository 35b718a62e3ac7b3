/** Roles of the admin RPC, apart from the schemas so that the command line starts without them. */
export const roles = ["admin", "data_scientist", "privacy_officer", "auditor"] as const;
