// Package recourse is an embedded rules engine for retry and backoff policy.
package recourse
