// SPDX-License-Identifier: Apache-2.0
// Runs examples/studio in Node as a page would: reads lines {"call": name, "arguments": [...]} and
// answers each with {"result"} or {"error", "status"}. Tables are read by psql, as a role.
import { execFile } from 'node:child_process'
import { createInterface } from 'node:readline'
import { promisify } from 'node:util'
import { pathToFileURL } from 'node:url'
import { createRequire } from 'node:module'
import { webcrypto } from 'node:crypto'

globalThis.crypto ??= webcrypto // of browsers; Node has it as a global from 20 on

const [folder, ingestUrl, token, dsn, role, storageUrl] = process.argv.slice(2)
const studio = await import(pathToFileURL(`${folder}/dist/studio.js`))
const require = createRequire(`${folder}/package.json`)
const quoted = text => `'${String(text).replaceAll("'", "''")}'`
const requests = [], logged = []
let failures = [] // answers in place of the next requests

const tables = {
  async select(table, filter, order) {
    const where = Object.entries(filter).map(([name, value]) => `${name} = ${quoted(value)}`).join(' AND ')
    const query = `SET ROLE ${role}; SELECT coalesce(json_agg(t), '[]') FROM (SELECT * FROM studio.${table} ` +
                  `WHERE ${where}${order ? ` ORDER BY ${order}` : ''}) AS t`
    const { stdout } = await promisify(execFile)('psql', [dsn, '-XqtAc', query], { maxBuffer: 1 << 26 })
    return JSON.parse(stdout)
  },
}

async function counted(url, init) {
  requests.push({ url: String(url), method: init?.method, keepalive: init?.keepalive ?? false,
                  body: typeof init?.body === 'string' ? JSON.parse(init.body) : null })
  const failure = failures.shift()
  if (failure === 'lost') { await fetch(url, init); throw new Error('the answer is lost') }
  if (failure) return new Response('{"error": "not now"}', { status: failure })
  return fetch(url, init)
}

const on = { ingestUrl, token: () => token, tables, storageUrl, fetch: counted, log: text => logged.push(text) }
studio.configure(on)

/* A page with the hook, drawn by React. */
function page(options) {
  const React = require('react'), { act, create } = require('react-test-renderer')
  globalThis.IS_REACT_ACT_ENVIRONMENT = true
  const shown = { errors: [] }
  const useProjectSync = studio.makeUseProjectSync(React)
  function Editor({ state }) {
    Object.assign(shown, useProjectSync({ ...options, state, apply: project => { shown.project = project },
                                          onError: error => shown.errors.push(String(error)) }))
    return null
  }
  let root
  act(() => { root = create(React.createElement(Editor, { state: options.state })) })
  return { shown, draw: state => act(() => root.update(React.createElement(Editor, { state }))),
           close: () => act(() => root.unmount()), act }
}

const sleep = ms => new Promise(resolve => setTimeout(resolve, ms))
let current
const calls = {
  ...studio,
  requests: () => requests.splice(0),
  logged: () => logged.splice(0),
  fail: list => { failures = list },
  off: () => studio.configure({ log: text => logged.push(text) }),
  on: () => studio.configure(on),
  upload: (bucket, path, text, type) => studio.uploadFile(bucket, path, new Blob([text], { type })),
  open: options => { current = page(options) },
  draw: state => { current.draw(state) },
  wait: async ms => { await current.act(async () => { await sleep(ms) }) },
  shown: () => ({ isInitialLoad: current.shown.isInitialLoad, project: current.shown.project ?? null,
                  errors: current.shown.errors }),
  saveNow: () => current.shown.saveNow(),
  close: () => { current.close() },
}

for await (const line of createInterface({ input: process.stdin })) {
  const { call, arguments: words } = JSON.parse(line)
  let answer
  try {
    answer = { result: (await calls[call](...words)) ?? null }
  } catch (error) {
    answer = { error: String(error), status: error.status ?? null }
  }
  process.stdout.write(JSON.stringify(answer) + '\n')
}
