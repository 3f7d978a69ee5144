-- Sends one scenario's requests and judges every answer. Arguments, after wrk's own --:
--   1 the scenario: list, one, 304, new, replay, coupon or mix
--   2 a folder with what was asked once before and found right:
--     menu, other-menu (may be served, too), product-1 … (bodies), etag, order and coupon-order (bodies of requests)
--   3 the total that an order must have, as text
--   4 milliseconds to wait before each request, 0 for none
-- Prints one line of JSON in the end.

local threads = {}

function setup(thread)
   table.insert(threads, thread)
end

local function read(folder, name)
   local file = assert(io.open(folder .. "/" .. name, "rb"))
   local text = file:read("*a")
   file:close()
   return text
end

local PRODUCTS = 10
local KEYS = 200
local menu, other_menu, products, scenario, total
local get_menu, get_products, get_current, post_order, post_coupon, post_keyed
local turn = 0

function init(args)
   local folder = args[2]
   scenario, total = args[1], '"total":' .. args[3]
   reads, orders, wrong, example = 0, 0, 0, ""
   menu, other_menu = read(folder, "menu"), read(folder, "other-menu")
   products, get_products, post_keyed = {}, {}, {}
   local plain = { ["Host"] = wrk.host .. ":" .. wrk.port }
   get_menu = wrk.format("GET", "/api/product", plain)
   for id = 1, PRODUCTS do
      products[read(folder, "product-" .. id)] = true
      get_products[id] = wrk.format("GET", "/api/product/" .. id, plain)
   end
   local current = { ["Host"] = plain["Host"], ["If-None-Match"] = read(folder, "etag") }
   get_current = wrk.format("GET", "/api/product", current)
   local json = { ["Host"] = plain["Host"], ["Content-Type"] = "application/json", ["api_key"] = "apitest" }
   post_order = wrk.format("POST", "/api/order", json, read(folder, "order"))
   post_coupon = wrk.format("POST", "/api/order", json, read(folder, "coupon-order"))
   for number = 1, KEYS do
      json["Idempotency-Key"] = "benchmark-" .. (number - 1)
      post_keyed[number] = wrk.format("POST", "/api/order", json, read(folder, "order"))
   end
   local pause = tonumber(args[4])
   if pause > 0 then
      function delay() return math.random(0, 2 * pause) end
   end
   math.randomseed(os.time())
end

local makers = {
   list = function() return get_menu end,
   one = function() return get_products[math.random(PRODUCTS)] end,
   ["304"] = function() return get_current end,
   new = function() return post_order end,
   replay = function() return post_keyed[math.random(KEYS)] end,
   coupon = function() return post_coupon end,
   -- nine reads to one order, half of the reads the menu
   mix = function()
      turn = turn + 1
      if turn % 10 == 0 then return post_order end
      if turn % 2 == 0 then return get_menu end
      return get_products[math.random(PRODUCTS)]
   end,
}

function request()
   return makers[scenario]()
end

local function is_right(status, body)
   if scenario == "304" then
      reads = reads + 1
      return status == 304 and body == ""
   end
   if status ~= 200 then return false end
   if body == menu or body == other_menu or products[body] then
      reads = reads + 1
      return scenario == "list" or scenario == "one" or scenario == "mix"
   end
   orders = orders + 1
   return body:find(total, 1, true) ~= nil and body:find('"status":"placed"', 1, true) ~= nil
end

function response(status, headers, body)
   if not is_right(status, body) then
      wrong = wrong + 1
      if example == "" then example = status .. " " .. body:sub(1, 200) end
   end
end

local function sum(name)
   local all = 0
   for _, thread in ipairs(threads) do all = all + thread:get(name) end
   return all
end

local function quote(text)
   return '"' .. text:gsub('[%c"\\]', " ") .. '"'
end

function done(summary, latency, requests)
   local errors = summary.errors
   local first = ""
   for _, thread in ipairs(threads) do
      if first == "" then first = thread:get("example") end
   end
   print(string.format(
      'RESULT {"requests": %d, "seconds": %.6f, "reads": %d, "orders": %d, "wrong": %d,'
      .. ' "socket_errors": %d, "timeouts": %d, "p50_us": %d, "p99_us": %d, "max_us": %d, "example": %s}',
      summary.requests, summary.duration / 1e6, sum("reads"), sum("orders"), sum("wrong"),
      errors.connect + errors.read + errors.write, errors.timeout,
      latency:percentile(50), latency:percentile(99), latency.max, quote(first)))
end
