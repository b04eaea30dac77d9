// Package provider holds the files of the built-in policies, and the suites that test them.
package provider

import "embed"

// Files are the policies NAME.yaml and their suites NAME_test.yaml.
//
//go:embed *.yaml
var Files embed.FS
