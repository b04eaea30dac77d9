module github.com/recourse-go/recourse/policy/schematest

go 1.26.0

replace github.com/recourse-go/recourse => ../..

require (
	github.com/recourse-go/recourse v0.0.0-00010101000000-000000000000
	github.com/santhosh-tekuri/jsonschema/v6 v6.0.3
	go.yaml.in/yaml/v3 v3.0.6
)

require (
	github.com/expr-lang/expr v1.17.8 // indirect
	github.com/tidwall/gjson v1.20.1 // indirect
	github.com/tidwall/match v1.1.1 // indirect
	github.com/tidwall/pretty v1.2.0 // indirect
	golang.org/x/text v0.14.0 // indirect
)
