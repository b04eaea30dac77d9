// Package corpus reads recorded provider errors, one JSON object a line, and
// decides each of them. The command `recourse decide` prints its answers.
//
// A case says what came back from a provider (a status, headers, a body, or an
// error of the network) and what the caller knew (the operation, the attempt).
// The answer is the decision of the provider's policy, with the chance u fixed
// at 0.5, so that the same input gives the same output.
package corpus
