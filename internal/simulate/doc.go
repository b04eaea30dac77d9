// Package simulate plays a scenario, such as ten minutes of outage for a thousand
// mailboxes, in virtual time: who calls what and when, what the provider's server allows,
// and what goes wrong. What the calls do then is decided by the engine itself, with its
// decisions, limits, budgets, breakers and credentials; only waiting and the network are
// simulated. A run with the same scenario, policies and seed gives the same Result.
package simulate
