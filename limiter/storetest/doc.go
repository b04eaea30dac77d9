// Package storetest has what a [limiter.Store] and a [limiter.CredentialStore] must do, as
// tests that each implementation runs, and as implementations in memory.
package storetest
