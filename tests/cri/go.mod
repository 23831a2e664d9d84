module github.com/gourd-oci/gourd/tests/cri

go 1.26

require (
	github.com/gogo/protobuf v1.3.2
	golang.org/x/net v0.38.0
	google.golang.org/grpc v1.68.1
	k8s.io/cri-api v0.33.0
)

require (
	golang.org/x/sys v0.31.0 // indirect
	golang.org/x/text v0.23.0 // indirect
	google.golang.org/genproto/googleapis/rpc v0.0.0-20241209162323-e6fa225c2576 // indirect
	google.golang.org/protobuf v1.36.5 // indirect
)
