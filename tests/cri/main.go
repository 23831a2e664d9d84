// Command cri is a small client of a container engine's CRI, the API by which a
// kubelet uses it, for scripts of tests/engines. It is a module of its own, so
// that gourd's has no gRPC.
//
//	cri METHOD [JSON|@FILE]   calls it; prints the answer
//	cri run POD               runs a pod sandbox: POD is a file with its PodSandboxConfig
//	cri start POD CONTAINER   creates and starts a container in it: a file with its ContainerConfig
//	cri exec NAME COMMAND...  ExecSync: its output, its exit code
//	cri stream METHOD JSON    Exec or Attach: this process has the other end of its streams
//	cri await NAME [REASON]   waits until the container has exited, or has the reason; prints how
//	cri remove POD            stops the sandbox, and removes it with its containers
//	cri websocket URL         a kubelet's exec or attach, as stream
//
// In a JSON, <NAME> is the id of the container or the pod with this name. The
// engine is at $CONTAINERD_ADDRESS.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"reflect"
	"regexp"
	"strings"
	"syscall"

	"github.com/gogo/protobuf/jsonpb"
	"github.com/gogo/protobuf/proto"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"
	cri "k8s.io/cri-api/pkg/apis/runtime/v1"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	code, err := run(ctx, os.Args[1:])
	if err != nil {
		if s, ok := status.FromError(err); ok { // in the words of a kubelet
			err = fmt.Errorf("%s: %s", s.Code(), s.Message())
		}
		fmt.Fprintln(os.Stderr, "cri:", err)
		code = 1
	}
	os.Exit(code)
}

// An engine is what is at the other end.
type engine struct {
	cri.RuntimeServiceClient
	images cri.ImageServiceClient
}

func run(ctx context.Context, args []string) (code int, err error) {
	if len(args) == 0 {
		return 0, errors.New("which method?")
	}
	verb, args := args[0], args[1:]
	if verb == "websocket" {
		if len(args) != 1 {
			return 0, errors.New("usage: cri websocket URL")
		}
		return stream(args[0])
	}
	conn, err := grpc.NewClient("unix://"+os.Getenv("CONTAINERD_ADDRESS"), grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		return 0, err
	}
	defer conn.Close()
	e := engine{cri.NewRuntimeServiceClient(conn), cri.NewImageServiceClient(conn)}
	switch {
	case verb == "run" && len(args) == 1:
		return 0, e.run(ctx, args[0])
	case verb == "start" && len(args) == 2:
		return 0, e.start(ctx, args[0], args[1])
	case verb == "exec" && len(args) > 1:
		return e.exec(ctx, args[0], args[1:])
	case verb == "stream" && len(args) == 2:
		answer, err := e.call(ctx, args[0], args[1])
		if err != nil {
			return 0, err
		}
		a, ok := answer.(interface{ GetUrl() string })
		if !ok {
			return 0, fmt.Errorf("%s: has no streams", args[0])
		}
		return stream(a.GetUrl())
	case verb == "await" && len(args) == 1:
		return 0, e.await(ctx, args[0], "")
	case verb == "await" && len(args) == 2:
		return 0, e.await(ctx, args[0], args[1])
	case verb == "remove" && len(args) == 1:
		return 0, e.remove(ctx, args[0])
	case len(args) <= 1:
		request := "{}"
		if len(args) == 1 {
			request = args[0]
		}
		answer, err := e.call(ctx, verb, request)
		if err != nil {
			return 0, err
		}
		return 0, show(answer)
	}
	return 0, fmt.Errorf("%s: no such use", verb)
}

// call calls the method with the request, which is its JSON or names a file of
// it.
func (e engine) call(ctx context.Context, method, request string) (proto.Message, error) {
	if file, ok := strings.CutPrefix(request, "@"); ok {
		data, err := os.ReadFile(file)
		if err != nil {
			return nil, err
		}
		request = string(data)
	}
	request, err := e.replaceNames(ctx, request)
	if err != nil {
		return nil, err
	}
	m := reflect.ValueOf(e.RuntimeServiceClient).MethodByName(method)
	if !m.IsValid() {
		m = reflect.ValueOf(e.images).MethodByName(method)
	}
	if !m.IsValid() {
		return nil, fmt.Errorf("%s: no such method", method)
	}
	in := reflect.New(m.Type().In(1).Elem())
	if err := jsonpb.UnmarshalString(request, in.Interface().(proto.Message)); err != nil {
		return nil, fmt.Errorf("the request of %s: %w", method, err)
	}
	out := m.Call([]reflect.Value{reflect.ValueOf(ctx), in})
	if err, _ := out[1].Interface().(error); err != nil {
		return nil, err
	}
	answer, ok := out[0].Interface().(proto.Message)
	if !ok {
		return nil, fmt.Errorf("%s: answers with a stream", method)
	}
	return answer, nil
}

func show(answer proto.Message) error {
	if err := (&jsonpb.Marshaler{Indent: " "}).Marshal(os.Stdout, answer); err != nil {
		return err
	}
	_, err := fmt.Println()
	return err
}

var named = regexp.MustCompile(`<[a-z0-9-]+>`)

func (e engine) replaceNames(ctx context.Context, request string) (string, error) {
	var errs []error
	request = named.ReplaceAllStringFunc(request, func(s string) string {
		id, err := e.find(ctx, s[1:len(s)-1])
		if err != nil {
			errs = append(errs, err)
		}
		return id
	})
	return request, errors.Join(errs...)
}

// find returns the id of the container, or of the pod, with this name.
func (e engine) find(ctx context.Context, name string) (string, error) {
	containers, err := e.ListContainers(ctx, &cri.ListContainersRequest{})
	if err != nil {
		return "", err
	}
	for _, c := range containers.Containers {
		if c.Metadata.Name == name {
			return c.Id, nil
		}
	}
	pods, err := e.ListPodSandbox(ctx, &cri.ListPodSandboxRequest{})
	if err != nil {
		return "", err
	}
	for _, p := range pods.Items {
		if p.Metadata.Name == name {
			return p.Id, nil
		}
	}
	return "", fmt.Errorf("no container and no pod is named %q", name)
}
