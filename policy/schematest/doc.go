// Package schematest holds the policy schema against a real JSON Schema
// validator. It is a module of its own, so that the validator is no dependency
// of the library.
package schematest
