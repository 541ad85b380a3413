{{- /* SPDX-License-Identifier: Apache-2.0 */}}

{{- /* The release's name, with the chart's where that is not part of it. */}}
{{- define "projectionist.fullname" -}}
{{- if contains "projectionist" .Release.Name -}}
{{- .Release.Name | trunc 40 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-projectionist" .Release.Name | trunc 40 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{- define "projectionist.image" -}}
{{- with .Values.image -}}
{{- if .digest -}}
{{ .repository }}@{{ .digest }}
{{- else -}}
{{ .repository }}:{{ .tag | default $.Chart.AppVersion }}
{{- end -}}
{{- end -}}
{{- end -}}

{{- /* Which pods of the release: {root, component, role}, of which both may be empty. */}}
{{- define "projectionist.selector" -}}
app.kubernetes.io/name: projectionist
app.kubernetes.io/instance: {{ .root.Release.Name }}
{{- with .component }}
app.kubernetes.io/component: {{ . }}
{{- end }}
{{- with .role }}
role: {{ . }}
{{- end }}
{{- end -}}

{{- define "projectionist.labels" -}}
{{ include "projectionist.selector" . }}
app.kubernetes.io/version: {{ .root.Values.image.tag | default .root.Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .root.Release.Service }}
helm.sh/chart: {{ .root.Chart.Name }}-{{ .root.Chart.Version }}
{{- end -}}

{{- define "projectionist.metadata" -}}
name: {{ .name }}
labels:
  {{- include "projectionist.labels" . | nindent 2 }}
{{- end -}}

{{- /* What connects a workload: the settings of its servers, then the credentials that Strimzi makes
for it, then its own. {root, component, servers, own}; YAML of {env, secrets, files}. */}}
{{- define "projectionist.settings" -}}
{{- $all := dict "env" dict "secrets" dict "files" dict -}}
{{- range .servers -}}
{{- $server := index $.root.Values.connections . -}}
{{- $_ := mergeOverwrite $all (deepCopy $server) -}}
{{- if and (eq . "kafka") $.root.Values.strimzi.credentials -}}
{{- $_ := mergeOverwrite $all (include "projectionist.strimziCredentials" $ | fromYaml) -}}
{{- end -}}
{{- end -}}
{{- $own := dict "env" (.own.env | default dict) "secrets" (.own.secrets | default dict) "files" (.own.files | default dict) -}}
{{- toYaml (mergeOverwrite $all (deepCopy $own)) -}}
{{- end -}}

{{- define "projectionist.strimziCredentials" -}}
{{- $user := printf "%s-%s" (include "projectionist.fullname" .root) .component -}}
{{- $ca := dict "secret" (printf "%s-cluster-ca-cert" .root.Values.strimzi.cluster) "key" "ca.crt" -}}
{{- if eq .root.Values.strimzi.authentication "tls" -}}
env:
  KAFKA_SECURITY_PROTOCOL: SSL
files:
  KAFKA_SSL_CA_LOCATION: {{ toJson $ca }}
  KAFKA_SSL_CERTIFICATE_LOCATION: {secret: {{ $user }}, key: user.crt}
  KAFKA_SSL_KEY_LOCATION: {secret: {{ $user }}, key: user.key}
{{- else -}}
env:
  KAFKA_SECURITY_PROTOCOL: SASL_SSL
  KAFKA_SASL_MECHANISM: SCRAM-SHA-512
  KAFKA_SASL_USERNAME: {{ $user }}
secrets:
  KAFKA_SASL_PASSWORD: {secret: {{ $user }}, key: password}
files:
  KAFKA_SSL_CA_LOCATION: {{ toJson $ca }}
{{- end -}}
{{- end -}}

{{- /* A mounted file's name, of the variable's. */}}
{{- define "projectionist.file" -}}
{{ lower . | replace "_" "-" }}
{{- end -}}

{{- define "projectionist.env" -}}
{{- range $name, $value := .env }}
- name: PROJECTIONIST_{{ $name }}
  value: {{ $value | toString | quote }}
{{- end }}
{{- range $name, $_ := .secrets }}
- name: PROJECTIONIST_{{ $name }}_FILE
  value: /run/secrets/projectionist/{{ include "projectionist.file" $name }}
{{- end }}
{{- range $name, $_ := .files }}
- name: PROJECTIONIST_{{ $name }}
  value: /run/secrets/projectionist/{{ include "projectionist.file" $name }}
{{- end }}
{{- end -}}

{{- define "projectionist.topic" -}}
{{ .root.Values.topicPrefix }}{{ .name }}
{{- end -}}

{{- /* A pod's template: its metadata and spec.
{root, component, role, command, settings (of projectionist.settings), env (more variables, YAML),
resources, serviceAccount, graceSeconds, container (more of it, YAML), restartPolicy, spread,
initContainers, mounts (settings of all containers, where there are several), claim (of a volume at
/recordings), claimIsRead (where nothing is written to it)} */}}
{{- define "projectionist.pod" -}}
metadata:
  labels:
    {{- include "projectionist.labels" . | nindent 4 }}
  {{- with .root.Values.podAnnotations }}
  annotations:
    {{- toYaml . | nindent 4 }}
  {{- end }}
spec:
  {{- with .restartPolicy }}
  restartPolicy: {{ . }}
  {{- end }}
  serviceAccountName: {{ .serviceAccount }}
  automountServiceAccountToken: false
  enableServiceLinks: false
  {{- with .graceSeconds }}
  terminationGracePeriodSeconds: {{ . }}
  {{- end }}
  securityContext:
    runAsNonRoot: true
    runAsUser: 10001
    runAsGroup: 10001
    fsGroup: 10001
    fsGroupChangePolicy: OnRootMismatch
    seccompProfile: {type: RuntimeDefault}
  {{- with .root.Values.image.pullSecrets }}
  imagePullSecrets:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with .root.Values.priorityClassName }}
  priorityClassName: {{ . }}
  {{- end }}
  {{- with .root.Values.nodeSelector }}
  nodeSelector:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with .root.Values.tolerations }}
  tolerations:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- if .spread }}
  topologySpreadConstraints:
    {{- range .root.Values.topologySpread.keys }}
    - maxSkew: 1
      topologyKey: {{ . }}
      whenUnsatisfiable: {{ $.root.Values.topologySpread.whenUnsatisfiable }}
      labelSelector:
        matchLabels:
          {{- include "projectionist.selector" $ | nindent 10 }}
    {{- end }}
  {{- end }}
  {{- with .initContainers }}
  initContainers:
    {{- range . }}
    {{- include "projectionist.container" (mergeOverwrite (omit $ "initContainers" "containerName" "command" "settings" "env") .) | nindent 4 }}
    {{- end }}
  {{- end }}
  containers:
    {{- include "projectionist.container" . | nindent 4 }}
  {{- $settings := .mounts | default .settings }}
  {{- if or $settings.secrets $settings.files .claim }}
  volumes:
    {{- with .claim }}
    - name: recordings
      persistentVolumeClaim: {claimName: {{ . }}{{ if $.claimIsRead }}, readOnly: true{{ end }}}
    {{- end }}
  {{- end }}
  {{- if or $settings.secrets $settings.files }}
    - name: files
      projected:
        defaultMode: 0440
        sources:
          {{- range $name, $from := merge (deepCopy $settings.secrets) $settings.files }}
          - {{ if $from.configMap }}configMap{{ else }}secret{{ end }}:
              name: {{ $from.configMap | default $from.secret }}
              items:
                - key: {{ $from.key }}
                  path: {{ include "projectionist.file" $name }}
          {{- end }}
  {{- end }}
{{- end -}}

{{- define "projectionist.container" -}}
- name: {{ .containerName | default .component }}
  image: {{ include "projectionist.image" .root }}
  imagePullPolicy: {{ .root.Values.image.pullPolicy }}
  command:
    {{- toYaml .command | nindent 4 }}
  {{- $env := include "projectionist.env" .settings }}
  {{- if or $env .env }}
  env:
    {{- with $env }}{{ . | trim | nindent 4 }}{{ end }}
    {{- with .env }}{{ . | trim | nindent 4 }}{{ end }}
  {{- end }}
  {{- with .container }}
  {{- . | trim | nindent 2 }}
  {{- end }}
  resources:
    {{- toYaml .resources | nindent 4 }}
  securityContext:
    allowPrivilegeEscalation: false
    readOnlyRootFilesystem: true
    capabilities: {drop: [ALL]}
  {{- if or .settings.secrets .settings.files .claim }}
  volumeMounts:
    {{- if .claim }}
    - {name: recordings, mountPath: /recordings{{ if .claimIsRead }}, readOnly: true{{ end }}}
    {{- end }}
    {{- if or .settings.secrets .settings.files }}
    - {name: files, mountPath: /run/secrets/projectionist, readOnly: true}
    {{- end }}
  {{- end }}
{{- end -}}

{{- /* What every long-running program serves. Ready: records are read. Alive: the main loop turns,
which it does while Postgres or Kafka is away; only a process that hangs is restarted. */}}
{{- define "projectionist.service" -}}
ports:
  - {name: metrics, containerPort: {{ .root.Values.metricsPort }}}
  {{- with .port }}
  - {name: http, containerPort: {{ . }}}
  {{- end }}
readinessProbe:
  httpGet: {path: /readyz, port: metrics}
  periodSeconds: 5
  timeoutSeconds: 3
livenessProbe:
  httpGet: {path: /livez, port: metrics}
  periodSeconds: 20
  timeoutSeconds: 5
  failureThreshold: 3
{{- with .preStopSeconds }}
lifecycle:
  preStop:
    sleep: {seconds: {{ . }}}
{{- end }}
{{- end -}}

{{- define "projectionist.serviceEnv" -}}
- name: PROJECTIONIST_LOG_FORMAT
  value: {{ .root.Values.logFormat }}
- name: PROJECTIONIST_LOG_LEVEL
  value: {{ .root.Values.logLevel }}
- name: PROJECTIONIST_METRICS_ADDRESS
  value: ":{{ .root.Values.metricsPort }}"
- name: PROJECTIONIST_SHUTDOWN_TIMEOUT
  value: {{ .shutdownTimeoutSeconds }}s
{{- with .root.Values.monitoring.otlpEndpoint }}
- name: PROJECTIONIST_OTLP_ENDPOINT
  value: {{ . | quote }}
{{- end }}
{{- include "projectionist.prefixEnv" . }}
{{- end -}}

{{- define "projectionist.prefixEnv" -}}
{{- with .root.Values.topicPrefix }}
- name: PROJECTIONIST_TOPIC_PREFIX
  value: {{ . | quote }}
{{- end }}
{{- end -}}

{{- define "projectionist.serviceAccount" -}}
apiVersion: v1
kind: ServiceAccount
metadata:
  {{- include "projectionist.metadata" . | nindent 2 }}
automountServiceAccountToken: false
{{- end -}}

{{- /* One pod may be away for a node's upgrade, even where there is but one. */}}
{{- define "projectionist.disruptionBudget" -}}
apiVersion: policy/v1
kind: PodDisruptionBudget
metadata:
  {{- include "projectionist.metadata" . | nindent 2 }}
spec:
  maxUnavailable: 1
  selector:
    matchLabels:
      {{- include "projectionist.selector" . | nindent 6 }}
{{- end -}}

{{- /* Of a list such as `relays`, those of the systems that are deployed, each with all that it does not
say itself: {root, list, defaults}. */}}
{{- define "projectionist.ofSystems" -}}
{{- $found := list -}}
{{- range .list -}}
{{- $one := mergeOverwrite (deepCopy $.defaults) (deepCopy .) -}}
{{- if and $one.enabled (has $one.system $.root.Values.systems) -}}
{{- $found = append $found $one -}}
{{- end -}}
{{- end -}}
{{- toYaml $found -}}
{{- end -}}

{{- define "projectionist.relays" -}}
{{- include "projectionist.ofSystems" (dict "root" . "list" .Values.relays "defaults" .Values.relayDefaults) -}}
{{- end -}}

{{- define "projectionist.ingests" -}}
{{- include "projectionist.ofSystems" (dict "root" . "list" .Values.ingests "defaults" .Values.ingestDefaults) -}}
{{- end -}}

{{- /* The topics of an ingest, without its keys: YAML of a list. */}}
{{- define "projectionist.ingestTopics" -}}
{{- $topics := list -}}
{{- range splitList " " (regexReplaceAll "[ ,]+" .topics " ") -}}
{{- with . }}{{ $topics = append $topics (first (splitList "=" .)) }}{{ end -}}
{{- end -}}
{{- toYaml $topics -}}
{{- end -}}
