// Package simulate plays a scenario in virtual time, such as an outage of ten minutes for
// a thousand mailboxes. A scenario says who calls what and when, what the provider's server
// allows, and what goes wrong. The engine itself decides about the calls, with its policies,
// limits, budgets, breakers and credentials; only waiting and the network are simulated.
// Two runs with the same scenario, policies and seed give the same Result.
package simulate
