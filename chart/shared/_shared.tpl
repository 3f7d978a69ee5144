{{/*
What the charts beside this folder share; each has a link to this file among its templates.
*/}}

{{/* What this is: the chart's name, unless it is given another. */}}
{{- define "orderfood.name" -}}
{{- .Values.nameOverride | default .Chart.Name -}}
{{- end -}}

{{/* The release's name, unless it does not tell what this is. 52 characters: a CronJob may have no more. */}}
{{- define "orderfood.fullname" -}}
{{- $name := include "orderfood.name" . -}}
{{- $name = ternary .Release.Name (printf "%s-%s" .Release.Name $name) (contains $name .Release.Name) -}}
{{- trunc 52 (.Values.fullnameOverride | default $name) | trimSuffix "-" -}}
{{- end -}}

{{/* What selects the pods of this release: never changes. */}}
{{- define "orderfood.selectorLabels" -}}
app.kubernetes.io/name: {{ include "orderfood.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{- define "orderfood.labels" -}}
{{ include "orderfood.labelsAs" (dict "root" . "name" (include "orderfood.name" .)) }}
{{- end -}}

{{/* All labels, from {root, name, more?}: pods that no Service may take for its own have another name. */}}
{{- define "orderfood.labelsAs" -}}
{{- $own := dict "app.kubernetes.io/name" .name "app.kubernetes.io/instance" .root.Release.Name "app.kubernetes.io/part-of" "orderfood" "app.kubernetes.io/managed-by" .root.Release.Service "helm.sh/chart" (printf "%s-%s" .root.Chart.Name (.root.Chart.Version | replace "+" "_")) -}}
{{- toYaml (merge $own (.more | default dict) .root.Values.commonLabels) -}}
{{- end -}}

{{- define "orderfood.metadata" -}}
name: {{ include "orderfood.fullname" . }}
namespace: {{ .Release.Namespace }}
labels:
  {{- include "orderfood.labels" . | nindent 2 }}
{{- end -}}

{{/* The metadata of a pod's template, from {root, name?, annotations?}. */}}
{{- define "orderfood.podMetadata" -}}
{{- $name := .name | default (include "orderfood.name" .root) -}}
labels:
  {{- include "orderfood.labelsAs" (dict "root" .root "name" $name "more" .root.Values.podLabels) | nindent 2 }}
{{- with merge (.annotations | default dict) .root.Values.podAnnotations }}
annotations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end -}}

{{/* A value as text: a number as it is written, not as 2e+07. */}}
{{- define "orderfood.text" -}}
{{- ternary . (toJson .) (kindIs "string" .) -}}
{{- end -}}

{{/* The tag of an image, from {root, image, base?}: base's where it has none, or else the version of the program that
the chart is for. */}}
{{- define "orderfood.tag" -}}
{{- $tag := .image.tag | default (.base | default dict).tag | default .root.Chart.AppVersion -}}
{{- include "orderfood.text" $tag -}}
{{- end -}}

{{/* image and imagePullPolicy, from {root, image, base?}: what is "" in image is as in base. */}}
{{- define "orderfood.image" -}}
{{- $base := .base | default dict -}}
{{- $registry := .image.registry | default $base.registry -}}
{{- $name := empty $registry | ternary .image.repository (printf "%s/%s" $registry .image.repository) -}}
image: "{{ $name }}{{ with .image.digest }}@{{ . }}{{ else }}:{{ include "orderfood.tag" . }}{{ end }}"
imagePullPolicy: {{ .image.pullPolicy | default $base.pullPolicy }}
{{- end -}}

{{/* No container gains rights, and none writes anywhere but into its volumes. */}}
{{- define "orderfood.containerSecurity" -}}
securityContext:
  allowPrivilegeEscalation: false
  capabilities: {drop: [ALL]}
  readOnlyRootFilesystem: true
{{- end -}}

{{/* What every pod of every chart has: no token, no rights, and where it may run. */}}
{{- define "orderfood.podBase" -}}
automountServiceAccountToken: false
enableServiceLinks: false
securityContext:
  {{- toYaml .Values.podSecurityContext | nindent 2 }}
{{- range $key := list "imagePullSecrets" "nodeSelector" "tolerations" }}
{{- with index $.Values $key }}
{{ $key }}:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}
{{- with .Values.priorityClassName }}
priorityClassName: {{ . | quote }}
{{- end }}
{{- end -}}

{{/* When a CronJob runs, from its values. */}}
{{- define "orderfood.schedule" -}}
schedule: {{ .schedule | quote }}
suspend: {{ .suspend }}
{{- with .timeZone }}
timeZone: {{ . | quote }}
{{- end }}
{{- if not (kindIs "invalid" .startingDeadlineSeconds) }}
startingDeadlineSeconds: {{ int64 .startingDeadlineSeconds }}
{{- end }}
{{- end -}}

{{/* memory, sqlite or postgresql. A URL in somebody else's Secret is taken for Postgres. */}}
{{- define "orderfood.backend" -}}
{{- if and .Values.storage.url .Values.storage.existingSecret -}}
{{- fail "give storage.url or storage.existingSecret, not both" -}}
{{- end -}}
{{- if not (regexMatch "^(memory://|sqlite:////data/.+|postgres(ql)?://\\S+)?$" .Values.storage.url) -}}
{{- fail "storage.url must be memory://, sqlite:////data/FILE or postgresql://user:password@host/db" -}}
{{- end -}}
{{- if and .Values.storage.passfile.existingSecret (regexMatch "^(memory|sqlite):" .Values.storage.url) -}}
{{- fail "storage.passfile is for a postgresql:// URL" -}}
{{- end -}}
{{- if hasPrefix "memory:" .Values.storage.url -}}memory
{{- else if hasPrefix "sqlite:" .Values.storage.url -}}sqlite
{{- else -}}postgresql
{{- end -}}
{{- end -}}

{{/* No variable and no volume stands twice, which Kubernetes would refuse, from {root, env, volumes}: the names that are taken. */}}
{{- define "orderfood.checkExtras" -}}
{{- range $key, $taken := dict "extraEnv" .env "extraVolumes" .volumes -}}
{{- range index $.root.Values $key -}}
{{- if has .name $taken -}}{{- fail (printf "%s: %s is the chart's own, stands in env, or stands there twice" $key .name) -}}{{- end -}}
{{- $taken = append $taken .name -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{/* What no schema can say: ends the rendering with one line where values contradict each other. */}}
{{- define "orderfood.checks" -}}
{{- $keys := include "orderfood.existingFixtures" . | fromJsonArray -}}
{{- range $kind, $member := dict "products" "id" "coupons" "code" "orders" "id" -}}
{{- $seen := list -}}
{{- range index $.Values.fixtures $kind | default list -}}
{{- $id := index . $member | toString | lower -}}
{{- if has $id $seen -}}{{- fail (printf "fixtures.%s: the %s %s stands there twice" $kind $member $id) -}}{{- end -}}
{{- $seen = append $seen $id -}}
{{- end -}}
{{- if and (kindIs "slice" (index $.Values.fixtures $kind)) (has (printf "%s.json" $kind) $keys) -}}
{{- fail (printf "give fixtures.%s or %s.json in fixtures.existingConfigMapKeys, not both" $kind $kind) -}}
{{- end -}}
{{- end -}}
{{- $env := concat (list "STORAGE_URL" "STORAGE_URL_FILE" "FIXTURES_DIR" "HOST" "PORT" "POD_NAME") (keys .Values.env) -}}
{{- include "orderfood.checkExtras" (dict "root" . "env" $env "volumes" (list "tmp" "storage" "data" "fixtures" "existing-fixtures" "passfile" "users")) -}}
{{- if and .Values.users.existingSecret (has "users.json" $keys) -}}
{{- fail "give users.existingSecret or users.json in fixtures.existingConfigMapKeys, not both" -}}
{{- end -}}
{{- end -}}

{{/* The volume with the URL: from this release's own Secret, somebody's, or that of chart/postgres. "own" names the first. */}}
{{- define "orderfood.storageVolume" -}}
{{- $named := .root.Values.storage.existingSecret -}}
{{- $own := .own | default (printf "%s-database" (include "orderfood.fullname" .root)) -}}
{{- $key := empty $named | ternary "url" .root.Values.storage.existingSecretKey -}}
- name: storage
  secret:
    secretName: {{ empty .root.Values.storage.url | ternary ($named | default "orderfood-database") $own | quote }}
    items: [{key: {{ $key | quote }}, path: url}]
{{- end -}}

{{/* The Secret for storage.url. */}}
{{- define "orderfood.secret" -}}
{{- include "orderfood.checks" . -}}
{{- if .Values.storage.url }}
apiVersion: v1
kind: Secret
metadata:
  name: {{ include "orderfood.fullname" . }}-database
  namespace: {{ .Release.Namespace }}
  labels:
    {{- include "orderfood.labels" . | nindent 4 }}
type: Opaque
data:
  url: {{ .Values.storage.url | b64enc }}
{{- end }}
{{- end -}}

{{/* The files of this release's own menu, as {name: entries}. The packaged sample orders belong to the sample user:
with other users there are none. */}}
{{- define "orderfood.fixtureFiles" -}}
{{- $files := dict -}}
{{- range $kind := list "products" "coupons" "orders" -}}
{{- $entries := index $.Values.fixtures $kind -}}
{{- if not (kindIs "invalid" $entries) -}}{{- $_ := set $files (printf "%s.json" $kind) $entries -}}{{- end -}}
{{- end -}}
{{- if and .Values.users.existingSecret (not (hasKey $files "orders.json")) -}}
{{- if not (has "orders.json" (include "orderfood.existingFixtures" . | fromJsonArray)) -}}
{{- $_ := set $files "orders.json" list -}}
{{- end -}}
{{- end -}}
{{- toJson $files -}}
{{- end -}}

{{/* The files that come from somebody's ConfigMap, as a list of names. */}}
{{- define "orderfood.existingFixtures" -}}
{{- empty .Values.fixtures.existingConfigMap | ternary list .Values.fixtures.existingConfigMapKeys | toJson -}}
{{- end -}}

{{/* The ConfigMap for the menu in the values. */}}
{{- define "orderfood.fixtures" -}}
{{- with include "orderfood.fixtureFiles" . | fromJson }}
apiVersion: v1
kind: ConfigMap
metadata:
  name: {{ include "orderfood.fullname" $ }}-fixtures
  namespace: {{ $.Release.Namespace }}
  labels:
    {{- include "orderfood.labels" $ | nindent 4 }}
data:
  {{- range $name, $entries := . }}
  {{ $name }}: {{ toJson $entries | quote }}
  {{- end }}
{{- end }}
{{- end -}}

{{/* Each file of one's own covers the packaged one of its name: FIXTURES_DIR stays the image's. */}}
{{- define "orderfood.fixtureMounts" -}}
{{- range $name, $_ := include "orderfood.fixtureFiles" . | fromJson }}
- {name: fixtures, mountPath: /usr/local/share/orderfood/fixtures/{{ $name }}, subPath: {{ $name }}, readOnly: true}
{{- end }}
{{- range $name := include "orderfood.existingFixtures" . | fromJsonArray }}
- {name: existing-fixtures, mountPath: /usr/local/share/orderfood/fixtures/{{ $name }}, subPath: {{ $name }}, readOnly: true}
{{- end }}
{{- if .Values.users.existingSecret }}
- {name: users, mountPath: /usr/local/share/orderfood/fixtures/users.json, subPath: users.json, readOnly: true}
{{- end }}
{{- end -}}

{{/* The volumes for these mounts. */}}
{{- define "orderfood.fixtureVolumes" -}}
{{- if include "orderfood.fixtureFiles" . | fromJson }}
- name: fixtures
  configMap: {name: {{ include "orderfood.fullname" . }}-fixtures}
{{- end }}
{{- with .Values.fixtures.existingConfigMap }}
- name: existing-fixtures
  configMap: {name: {{ . | quote }}}
{{- end }}
{{- with .Values.users.existingSecret }}
- name: users
  secret:
    secretName: {{ . | quote }}
    items: [{key: {{ $.Values.users.existingSecretKey | quote }}, path: users.json}]
{{- end }}
{{- end -}}

{{/* The volumes of a pod that runs one of the three programs, from {root, claim (of a SQLite file), fixtures (does it
read them? a ConfigMap that nobody reads must keep no pod from starting), secret?}. */}}
{{- define "orderfood.volumes" -}}
- name: tmp
  emptyDir: {}
{{ include "orderfood.storageVolume" (dict "root" .root "own" .secret) }}
{{- with .root }}
{{- if eq (include "orderfood.backend" .) "sqlite" }}
- name: data
  persistentVolumeClaim: {claimName: {{ $.claim | quote }}}
{{- end }}
{{- if $.fixtures }}
{{- include "orderfood.fixtureVolumes" . }}
{{- end }}
{{- with .Values.storage.passfile.existingSecret }}
- name: passfile
  secret:
    secretName: {{ . | quote }}
    items: [{key: {{ $.root.Values.storage.passfile.existingSecretKey | quote }}, path: passfile}]
{{- end }}
{{- with .Values.extraVolumes }}
{{ toYaml . }}
{{- end }}
{{- end }}
{{- end -}}

{{/* Changes whenever something changes that the pods would not notice otherwise. */}}
{{- define "orderfood.checksums" -}}
checksum/fixtures: {{ include "orderfood.fixtureFiles" . | sha256sum | quote }}
checksum/storage: {{ include "orderfood.secret" . | sha256sum | quote }}
{{- end -}}

{{/* What a telemetry library reports of the pod itself. */}}
{{- define "orderfood.podEnv" -}}
- name: POD_NAME
  valueFrom: {fieldRef: {fieldPath: metadata.name}}
{{- if not (hasKey .Values.env "OTEL_RESOURCE_ATTRIBUTES") }}
- name: OTEL_RESOURCE_ATTRIBUTES
  value: k8s.namespace.name={{ .Release.Namespace }}
{{- end }}
{{- end -}}

{{/* A container of one of the three programs, from {root, name, image, resources?, fixtures (does it read them?), host?}. */}}
{{- define "orderfood.container" -}}
{{- $tag := include "orderfood.tag" (dict "root" .root "image" .image "base" .root.Values.image) -}}
{{- $version := .root.Values.env.SERVICE_VERSION | default (trunc 100 $tag) -}}
name: {{ .name }}
# all images hold all programs, and that of database-load what reads coupon files
command: [{{ .name }}]
{{ include "orderfood.image" (dict "root" .root "image" .image "base" .root.Values.image) }}
env:
  # a file, not a variable: only so a new URL arrives in a pod that runs
  - {name: STORAGE_URL_FILE, value: /etc/orderfood/storage/url}
  {{- with .host }}
  - {name: HOST, value: {{ quote . }}}
  {{- end }}
  {{- include "orderfood.podEnv" .root | nindent 2 }}
  {{- range $name, $value := merge (dict "SERVICE_VERSION" $version) .root.Values.env }}
  - name: {{ $name }}
    value: {{ include "orderfood.text" $value | quote }}
  {{- end }}
  {{- with .root.Values.extraEnv }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
{{- with .root.Values.envFrom }}
envFrom:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{ include "orderfood.containerSecurity" . }}
resources:
  {{- toYaml (.resources | default .root.Values.resources | default dict) | nindent 2 }}
terminationMessagePolicy: FallbackToLogsOnError
volumeMounts:
  - {name: tmp, mountPath: /tmp}
  # the folder: a file alone would never change
  - {name: storage, mountPath: /etc/orderfood/storage, readOnly: true}
  {{- if eq (include "orderfood.backend" .root) "sqlite" }}
  - {name: data, mountPath: /data}
  {{- end }}
  {{- if .root.Values.storage.passfile.existingSecret }}
  # the folder, not the file: only so a new password arrives in a pod that runs
  - {name: passfile, mountPath: /etc/orderfood/database, readOnly: true}
  {{- end }}
  {{- if .fixtures }}
  {{- include "orderfood.fixtureMounts" .root | nindent 2 }}
  {{- end }}
  {{- with .root.Values.extraVolumeMounts }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
{{- end -}}

{{/* `helm test`: places an order through the Service and reads it back, from {root, image, base?, url}. Its pod has a
name label of its own, so that no Service takes it for one of its pods. */}}
{{- define "orderfood.test" -}}
{{- $root := .root -}}
{{- $test := $root.Values.test -}}
apiVersion: v1
kind: Pod
metadata:
  name: {{ include "orderfood.fullname" $root }}-test
  namespace: {{ $root.Release.Namespace }}
  labels:
    {{- include "orderfood.labelsAs" (dict "root" $root "name" (printf "%s-test" (include "orderfood.name" $root)) "more" $root.Values.podLabels) | nindent 4 }}
  annotations:
    helm.sh/hook: test
    helm.sh/hook-delete-policy: before-hook-creation,hook-succeeded
spec:
  restartPolicy: Never
  activeDeadlineSeconds: 120
  {{- include "orderfood.podBase" $root | nindent 2 }}
  containers:
    - name: place-order
      {{- include "orderfood.image" (dict "root" $root "image" .image "base" .base) | nindent 6 }}
      command: [python, /usr/local/share/orderfood/place_order.py]
      env:
        - name: BASE_URL
          value: {{ .url | quote }}
        - name: API_KEY
          {{- if $test.existingSecret }}
          valueFrom: {secretKeyRef: {name: {{ $test.existingSecret | quote }}, key: {{ $test.existingSecretKey | quote }}}}
          {{- else }}
          value: apitest
          {{- end }}
      {{- include "orderfood.containerSecurity" . | nindent 6 }}
      resources:
        {{- toYaml ($root.Values.resources | default dict) | nindent 8 }}
{{- end -}}
