module github.com/recourse-go/recourse/bench

go 1.26.0

require github.com/recourse-go/recourse v0.0.0

require (
	github.com/expr-lang/expr v1.17.8 // indirect
	github.com/tidwall/gjson v1.20.1 // indirect
	github.com/tidwall/match v1.1.1 // indirect
	github.com/tidwall/pretty v1.2.0 // indirect
	go.yaml.in/yaml/v3 v3.0.6 // indirect
)

replace github.com/recourse-go/recourse => ../
