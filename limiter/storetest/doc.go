// Package storetest is for those who implement a [limiter.Store], a [limiter.CredentialStore]
// or a [limiter.PauseStore].
//
// [Memory] is a store of limits in memory. It is the reference: what it answers is right,
// and its code is written to be read. It is also a store for tests of others: its clock can
// be set, it can forget, and its calls can fail in the ways that those of a server do.
// [Run] holds a store to what [limiter.Store] says. [Compare] lets a store whose clock can be
// set decide over many random calls, and wants the reference's answers.
//
// [Credentials] is a store of credentials in memory.
package storetest
