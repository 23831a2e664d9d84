package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/gogo/protobuf/jsonpb"
	"github.com/gogo/protobuf/proto"
	cri "k8s.io/cri-api/pkg/apis/runtime/v1"
)

func readMessage(file string, m proto.Message) error {
	f, err := os.Open(file)
	if err != nil {
		return err
	}
	defer f.Close()
	if err := jsonpb.Unmarshal(f, m); err != nil {
		return fmt.Errorf("%s: %w", file, err)
	}
	return nil
}

// readPod reads a PodSandboxConfig, in which the directory of the logs may be
// relative. Its cgroup is below $CRI_CGROUP_PARENT.
func readPod(file string) (*cri.PodSandboxConfig, error) {
	config := &cri.PodSandboxConfig{}
	err := readMessage(file, config)
	if err != nil {
		return nil, err
	}
	if parent := os.Getenv("CRI_CGROUP_PARENT"); parent != "" {
		if config.Linux == nil {
			config.Linux = &cri.LinuxPodSandboxConfig{}
		}
		config.Linux.CgroupParent = parent
	}
	if config.LogDirectory != "" { // which must be absolute
		if config.LogDirectory, err = filepath.Abs(config.LogDirectory); err != nil {
			return nil, err
		}
	}
	return config, nil
}

func (e engine) run(ctx context.Context, file string) error {
	config, err := readPod(file)
	if err != nil {
		return err
	}
	answer, err := e.RunPodSandbox(ctx, &cri.RunPodSandboxRequest{Config: config, RuntimeHandler: os.Getenv("CRI_HANDLER")})
	if err != nil {
		return err
	}
	fmt.Println(answer.PodSandboxId)
	return nil
}

func (e engine) start(ctx context.Context, podFile, file string) error {
	pod, err := readPod(podFile)
	if err != nil {
		return err
	}
	var config cri.ContainerConfig
	if err := readMessage(file, &config); err != nil {
		return err
	}
	id, err := e.find(ctx, pod.Metadata.Name)
	if err != nil {
		return err
	}
	answer, err := e.CreateContainer(ctx, &cri.CreateContainerRequest{PodSandboxId: id, Config: &config, SandboxConfig: pod})
	if err != nil {
		return err
	}
	fmt.Println(answer.ContainerId)
	_, err = e.StartContainer(ctx, &cri.StartContainerRequest{ContainerId: answer.ContainerId})
	return err
}

func (e engine) exec(ctx context.Context, name string, command []string) (code int, err error) {
	id, err := e.find(ctx, name)
	if err != nil {
		return 0, err
	}
	answer, err := e.ExecSync(ctx, &cri.ExecSyncRequest{ContainerId: id, Cmd: command})
	if err != nil {
		return 0, err
	}
	os.Stdout.Write(answer.Stdout)
	os.Stderr.Write(answer.Stderr)
	return int(answer.ExitCode), nil
}

// await asks again and again, as a kubelet does: containerd 1.6 has no events, and
// a newer one does not tell from which on they are heard.
func (e engine) await(ctx context.Context, name, reason string) error {
	id, err := e.find(ctx, name)
	if err != nil {
		return err
	}
	for {
		answer, err := e.ContainerStatus(ctx, &cri.ContainerStatusRequest{ContainerId: id})
		if err != nil {
			return err
		}
		if s := answer.Status; s.State == cri.ContainerState_CONTAINER_EXITED || reason != "" && s.Reason == reason {
			fmt.Println(s.Reason, s.ExitCode)
			return nil
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(50 * time.Millisecond):
		}
	}
}

func (e engine) remove(ctx context.Context, name string) error {
	id, err := e.find(ctx, name)
	if err != nil {
		return err
	}
	if _, err := e.StopPodSandbox(ctx, &cri.StopPodSandboxRequest{PodSandboxId: id}); err != nil {
		return err
	}
	_, err = e.RemovePodSandbox(ctx, &cri.RemovePodSandboxRequest{PodSandboxId: id})
	return err
}
