// Package storetest is for those who implement a [limiter.Store], a [limiter.CredentialStore]
// or a [limiter.PauseStore].
//
// [Memory] is a store of limits in memory. It is the reference: its answers define what other
// stores must answer, and its code is written to be read. It also serves other tests: its
// clock can be set, it can lose its data, and its calls can fail like those of a server.
// [Run] tests whether a store does what [limiter.Store] says. [Compare] makes many random
// calls to a store whose clock can be set, and compares its answers with the reference's;
// [ComparePauses] and [CompareCredentials] do the same for pauses and credentials.
//
// [Credentials] is the reference for a store of credentials.
package storetest
