module github.com/recourse-go/recourse/examples/fleet

go 1.26.0

require (
	github.com/jackc/pgx/v5 v5.12.0
	github.com/recourse-go/recourse v0.0.0
	github.com/recourse-go/recourse/limiter/pglimit v0.0.0
	github.com/recourse-go/recourse/limiter/redislimit v0.0.0
	github.com/redis/go-redis/v9 v9.23.0
)

require (
	github.com/cenkalti/backoff/v4 v4.3.0 // indirect
	github.com/cespare/xxhash/v2 v2.3.0 // indirect
	github.com/expr-lang/expr v1.17.8 // indirect
	github.com/jackc/pgpassfile v1.0.0 // indirect
	github.com/jackc/pgservicefile v0.0.0-20240606120523-5a60cdf6a761 // indirect
	github.com/jackc/puddle/v2 v2.2.3 // indirect
	github.com/tidwall/gjson v1.20.1 // indirect
	github.com/tidwall/match v1.1.1 // indirect
	github.com/tidwall/pretty v1.2.0 // indirect
	go.uber.org/atomic v1.12.0 // indirect
	go.yaml.in/yaml/v3 v3.0.6 // indirect
	golang.org/x/sync v0.22.0 // indirect
	golang.org/x/sys v0.48.0 // indirect
	golang.org/x/text v0.41.0 // indirect
	golang.org/x/time v0.16.0 // indirect
)

replace (
	github.com/recourse-go/recourse => ../..
	github.com/recourse-go/recourse/limiter/pglimit => ../../limiter/pglimit
	github.com/recourse-go/recourse/limiter/redislimit => ../../limiter/redislimit
)
