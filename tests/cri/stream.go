package main

import (
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"

	"golang.org/x/net/websocket"
)

// The channels of the protocol v4.channel.k8s.io, which engines and kubelets
// speak in WebSockets: the first byte of each message.
const (
	channelStdin  = 0
	channelStdout = 1
	channelStderr = 2
	channelStatus = 3 // how the command ended, as JSON; the last message
)

// stream connects this process's streams with those of a command, and returns
// its exit code. The other side never learns of the end of stdin: the protocol
// has no word for it.
func stream(url string) (code int, err error) {
	// (A kubelet's certificate is its own.)
	config, err := websocket.NewConfig(strings.Replace(url, "http", "ws", 1), url)
	if err != nil {
		return 0, err
	}
	config.Protocol = []string{"v4.channel.k8s.io"}
	config.TlsConfig = &tls.Config{InsecureSkipVerify: true}
	ws, err := websocket.DialConfig(config)
	if err != nil {
		return 0, err
	}
	defer ws.Close()
	go func() {
		buf := make([]byte, 4096)
		for {
			n, err := os.Stdin.Read(buf[1:])
			if n > 0 {
				buf[0] = channelStdin
				if websocket.Message.Send(ws, buf[:n+1]) != nil {
					return
				}
			}
			if err != nil {
				return
			}
		}
	}()
	for {
		var message []byte
		err := websocket.Message.Receive(ws, &message)
		if errors.Is(err, io.EOF) {
			return 0, nil // Attach says nothing at the end
		}
		if err != nil {
			return 0, err
		}
		if len(message) == 0 {
			continue
		}
		switch data := message[1:]; message[0] {
		case channelStdout:
			os.Stdout.Write(data)
		case channelStderr:
			os.Stderr.Write(data)
		case channelStatus:
			return exitCode(data)
		}
	}
}

// exitCode reads the status of a command that has ended.
func exitCode(data []byte) (int, error) {
	var status struct {
		Status, Message string
		Details         struct {
			Causes []struct{ Reason, Message string }
		}
	}
	if err := json.Unmarshal(data, &status); err != nil {
		return 0, fmt.Errorf("the status %q: %w", data, err)
	}
	for _, c := range status.Details.Causes {
		if c.Reason == "ExitCode" {
			return strconv.Atoi(c.Message)
		}
	}
	if status.Status != "Success" {
		return 0, errors.New(status.Message)
	}
	return 0, nil
}
